package attacks

import (
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A Path is what a request's path tells; the path itself is not kept.
type Path struct {
	Scan wire.Value // wire.ScanClass; Other: nothing
	// Certain is set where no site has such a path for its visitors. Others are a
	// scan only if the server does not have them.
	Certain bool
	Login   bool // where passwords are sent to
}

func class(name string) wire.Value { return wire.ScanClass.Value(name) }

// The tables. Names are in lower case, as paths are compared.
var (
	// firsts are by the first element of a path.
	firsts = table(map[string]string{
		"wordpress":  "wp-admin wp-content wp-includes wp-json wordpress wp wp1 wp2 wlwmanifest.xml",
		"phpmyadmin": "phpmyadmin pma myadmin phpmyadmin2 mysqladmin dbadmin phpmyadmin4 phpmyadmin5 adminer adminer.php mysql-admin phppgadmin",
		"cgi":        "cgi-bin cgi cgi-sys cgi-mod",
		"router": "hnap1 boaform goform gponform setup.cgi onvif webfig tmunblock.cgi hndunblock.cgi currentsetting.htm evox " +
			"device.rsp luci ubus apply_sec.cgi login.rsp picsdesc.xml wanipcn.xml rom-0",
		"admin":     "admin administrator admin.php manager host-manager jmx-console web-console admin-console adminpanel cpanel whm webadmin",
		"joomla":    "components com_content joomla",
		"drupal":    "sites drupal user",
		"java":      "struts struts2 struts2-showcase jolokia solr jenkins hudson jboss weblogic wls-wsat _async nexus druid invoker axis2 nacos console",
		"debug":     "actuator _profiler telescope debug server-status server-info _ignition horizon elmah.axd trace.axd metrics info.php phpinfo.php phpinfo",
		"microsoft": "owa ecp autodiscover aspnet_client rpc exchange _layouts _vti_bin powershell iisstart.htm",
		"vpn":       "remote dana-na dana dana-cached +cscoe+ global-protect sslmgr sslvpn vpns vpn logon citrix nf my.policy tmui mgmt",
		"php":       "vendor laravel thinkphp phpunit lib/phpunit cgi-bin.php",
		"proxy":     "http: https: proxy",
	})
	// lasts are by the last element.
	lasts = table(map[string]string{
		"wordpress": "wp-login.php xmlrpc.php wp-config.php wp-cron.php wlwmanifest.xml wp-signup.php wp-config.php.bak wp-config.php~ wp-config.php.save",
		"backups": "backup.zip backup.tar.gz backup.sql backup.rar dump.sql database.sql db.sql www.zip site.zip web.zip wwwroot.rar wwwroot.zip " +
			"website.zip htdocs.zip public_html.zip backup.tgz data.sql mysql.sql db_backup.sql config.bak config.php.bak index.php.bak " +
			"web.config.bak settings.py.bak index.php~ config.php~ config.old",
		"webshell": "shell.php c99.php r57.php wso.php alfa.php alfacgiapi mini.php b374k.php cmd.php up.php upload.php shell.jsp cmd.jsp cmd.aspx " +
			"0x.php x.php 1.php aa.php as.php marijuana.php fox.php gel4y.php radio.php goods.php lock360.php simple.php about.php ws.php",
		"php":            "eval-stdin.php think.php index.php.swp install.php setup.php config.php.swp test.php php-cgi.exe php-cgi",
		"debug":          "phpinfo.php info.php phpinfo server-status heapdump _debugbar elmah.axd trace.axd",
		"ssh_keys":       "id_rsa id_dsa id_ecdsa id_ed25519 authorized_keys known_hosts privatekey.key server.key private.pem",
		"env_files":      "env.js.bak credentials.json secrets.json secrets.yml secrets.yaml aws.yml docker-compose.yml docker-compose.yaml config.env prod.env settings.env sftp-config.json sftp.json",
		"cloud_metadata": "instance-identity security-credentials",
		"java":           "web.xml login.action index.action doupload.action",
		"traversal":      "passwd shadow win.ini",
		"router":         "tmunblock.cgi setup.cgi system.ini nice%20ports%2c/tri%6eity.txt%2ebak",
	})
	// dotted are by an element that begins with a dot.
	dotted = table(map[string]string{
		"env_files": "env env.local env.production env.prod env.dev env.bak env.old env.save env.example env.backup env.staging env.development env.test env.live " +
			"aws dockercfg docker npmrc netrc boto s3cfg htpasswd ftpconfig pgpass my.cnf kube config",
		"git":      "git svn hg bzr gitignore gitconfig git-credentials gitlab-ci.yml github gitmodules",
		"ssh_keys": "ssh",
		"debug":    "ds_store idea vscode bash_history mysql_history history",
	})
	// certain are the classes that no site has for its visitors. A forge has .git
	// and .env files in it, but not as its root's.
	certain = func() (c [64]bool) {
		for _, name := range []string{"router", "injection", "traversal", "cloud_metadata"} {
			c[class(name)] = true
		}
		return c
	}()
	// logins are by the last element; their class says nothing.
	logins = table(map[string]string{
		"admin": "login signin sign-in sign_in log-in log_in logon session sessions token auth authenticate authorize login.php " +
			"login.aspx login.jsp login.html login.do login.cgi signin.php wp-login.php xmlrpc.php j_security_check j_spring_security_check user_login authentication oauth2 " +
			"passwordlogin checklogin dologin password credentials",
	})
	suffixes = table(map[string]string{
		"backups":   "sql bak old swp save orig sqlite mdb",
		"php":       "php php5 php7 phtml",
		"microsoft": "asp aspx ashx asmx",
		"java":      "jsp jspx action do",
		"cgi":       "cgi",
	})
)

// A names is a vocabulary, with what lets most other words pass at a glance.
type names struct {
	class   map[string]wire.Value
	lengths [256]uint64 // by first byte: the set of lengths
}

func table(classes map[string]string) *names {
	t := &names{class: map[string]wire.Value{}}
	for c, list := range classes {
		for name := range strings.FieldsSeq(list) {
			t.class[name] = class(c)
			t.lengths[name[0]] |= 1 << len(name)
		}
	}
	return t
}

// find is the class of s in any case, or Other.
func (t *names) find(s string) wire.Value {
	if s == "" || len(s) > longestName || t.lengths[fold(s[0])]&(1<<len(s)) == 0 {
		return wire.Other
	}
	var b [longestName]byte
	for i := range len(s) {
		b[i] = fold(s[i])
	}
	return t.class[string(b[:len(s)])]
}

const longestName = 32

func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// The classes that are given by hand.
var (
	classTraversal = class("traversal")
	classInjection = class("injection")
	classEnv       = class("env_files")
	classGit       = class("git")
	classCloud     = class("cloud_metadata")
)

// examined is how much of a path and of a query is looked at.
const examined = 512

// Classify tells what a request asked for. The path is as it was sent, still
// escaped; the query is without its question mark. It does not allocate.
func Classify(path, query string) Path {
	path, query = path[:min(len(path), examined)], query[:min(len(query), examined)]
	last := path[strings.LastIndexByte(path, '/')+1:]
	p := Path{Scan: classify(path, last, query), Login: logins.find(last) != wire.Other}
	p.Certain = certain[p.Scan] || (p.Scan == classEnv || p.Scan == classGit) && strings.HasPrefix(path, "/.")
	return p
}

func classify(path, last, query string) wire.Value {
	inPath, inQuery := traits(path), traits(query)
	if inPath&strange != 0 && payload(path, inPath) || inQuery&(strange|slash) != 0 && payload(query, inQuery) {
		return classInjection
	}
	if inPath&(dots|percent) != 0 && traverses(path, inPath) || inQuery&(dots|percent) != 0 && traverses(query, inQuery) {
		return classTraversal
	}
	if inQuery&dot != 0 && strings.Contains(query, "169.254.169.254") || strings.HasPrefix(path, "/latest/meta-data") {
		return classCloud
	}
	if inPath&hidden != 0 {
		for rest := path; ; {
			i := strings.Index(rest, "/.")
			if i < 0 {
				break
			}
			rest = rest[i+2:]
			element := rest
			if j := strings.IndexByte(element, '/'); j >= 0 {
				element = element[:j]
			}
			if v := dotted.find(element); v != wire.Other {
				return v
			}
			if len(element) > 4 && strings.EqualFold(element[:4], "env.") {
				return classEnv
			}
		}
	}
	if v := lasts.find(last); v != wire.Other {
		return v
	}
	first := strings.TrimPrefix(path, "/")
	if i := strings.IndexByte(first, '/'); i >= 0 {
		first = first[:i]
	}
	if v := firsts.find(first); v != wire.Other {
		return v
	}
	if inPath&dot != 0 {
		if i := strings.LastIndexByte(last, '.'); i >= 0 {
			return suffixes.find(last[i+1:])
		}
	}
	return wire.Other
}

// What a string has, so that most need no search.
type trait uint8

const (
	percent trait = 1 << iota
	dollar
	angle
	plus
	slash
	dot
	dots    // two in a row
	hidden  // a dot after a slash
	strange = percent | dollar | angle | plus
)

var traitOf = func() (t [256]trait) {
	t['%'], t['$'], t['<'], t['+'], t['/'], t['.'] = percent, dollar, angle, plus, slash, dot
	return t
}()

func traits(s string) (all trait) {
	var before trait
	for i := range len(s) {
		t := traitOf[s[i]]
		if t == dot {
			switch before {
			case dot:
				all |= dots
			case slash:
				all |= hidden
			}
		}
		all |= t
		before = t
	}
	return all
}

// traverses looks for a way up, plain or escaped.
func traverses(s string, has trait) bool {
	if has&dots != 0 && (strings.Contains(s, "../") || strings.Contains(s, `..\`)) {
		return true
	}
	return has&percent != 0 && anyOf(s, escapedWays)
}

// payload looks for commands, code and look-ups in what should be a name.
func payload(s string, has trait) bool {
	return has&dollar != 0 && anyOf(s, lookups) ||
		has&angle != 0 && anyOf(s, markup) ||
		has&percent != 0 && anyOf(s, escaped) ||
		has&plus != 0 && anyOf(s, spaced) ||
		has&slash != 0 && anyOf(s, files)
}

// The marks, in lower case.
var (
	escapedWays = []string{"%2e%2e", "..%2f", ".%2e/", "%2e./", "..%5c", "%252e%252e", "%c0%ae", "..%252f"}
	lookups     = []string{"${jndi", "${${", "${env:", "$("}
	markup      = []string{"<script", "<?php"}
	escaped     = []string{"%24%7b", "%3cscript", "%3c%3fphp", "%00", "%adallow_url_include", "%adauto_prepend", "union%20select", "union%20all%20select", "wget%20http", "cd%20/tmp", "$%7bjndi"}
	spaced      = []string{"union+select", "union+all+select", "and+sleep(", "wget+http", "curl+http", "cd+/tmp"}
	files       = []string{"/etc/passwd", "/etc/shadow", "/bin/sh", "/proc/self", "/windows/win.ini"}
)

func anyOf(s string, marks []string) bool {
	for _, m := range marks {
		if containsFold(s, m) {
			return true
		}
	}
	return false
}

// containsFold reports whether s has sub, which is in lower case, in any case.
func containsFold(s, sub string) bool {
	for i := 0; i+len(sub) <= len(s); i++ {
		if fold(s[i]) == sub[0] && strings.EqualFold(s[i:i+len(sub)], sub) {
			return true
		}
	}
	return false
}
