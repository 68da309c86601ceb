package programs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Request is what a Tool is to ask for, always of localhost: that is the name
// that it looks for in the certificate.
type Request struct {
	CAFile     string // PEM, the only authorities that it trusts
	Port, Path string
	Plain      bool // http instead of https
	TLS12      bool // it may not speak TLS 1.3
}

func (r Request) url() string {
	if r.Plain {
		return "http://localhost:" + r.Port + r.Path
	}
	return "https://localhost:" + r.Port + r.Path
}

// A Tool is a program that makes one request over one connection. Its error is
// the program's own: a handshake that fails makes it fail.
type Tool struct {
	Name    string
	Package string // of Debian; "" is Go's own library, in this process
	Plain   bool   // it can speak HTTP without TLS
	Get     func(ctx context.Context, dir string, r Request) error
}

// Tools are the command-line clients and languages that Debian has, and Go;
// between them they use OpenSSL, GnuTLS, and the TLS of Go and Java.
func Tools() []Tool {
	return []Tool{
		{"curl", "curl", true, func(ctx context.Context, dir string, r Request) error {
			args := []string{"--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "20",
				"--resolve", "localhost:" + r.Port + ":127.0.0.1", "--cacert", r.CAFile}
			if r.TLS12 {
				args = append(args, "--tls-max", "1.2")
			}
			return tool(ctx, dir, "", "curl", append(args, r.url())...)
		}},
		{"wget", "wget", true, func(ctx context.Context, dir string, r Request) error {
			args := []string{"--quiet", "--no-proxy", "--inet4-only", "--tries=1", "--timeout=20", "--no-hsts",
				"--output-document=/dev/null", "--ca-certificate=" + r.CAFile}
			if r.TLS12 {
				args = append(args, "--ciphers=NORMAL:-VERS-TLS1.3")
			}
			return tool(ctx, dir, "", "wget", append(args, r.url())...)
		}},
		{"gnutls-cli", "gnutls-bin", false, func(ctx context.Context, dir string, r Request) error {
			args := []string{"--x509cafile=" + r.CAFile, "--port=" + r.Port}
			if r.TLS12 {
				args = append(args, "--priority=NORMAL:-VERS-TLS1.3")
			}
			return tool(ctx, dir, request(r.Path, "gnutls-cli"), "gnutls-cli", append(args, "localhost")...)
		}},
		{"openssl", "openssl", false, func(ctx context.Context, dir string, r Request) error {
			args := []string{"s_client", "-quiet", "-verify_return_error", "-CAfile", r.CAFile,
				"-servername", "localhost", "-verify_hostname", "localhost", "-connect", "127.0.0.1:" + r.Port}
			if r.TLS12 {
				args = append(args, "-tls1_2")
			}
			return tool(ctx, dir, request(r.Path, "openssl"), "openssl", args...)
		}},
		{"git", "git", true, git},
		{"node", "nodejs", true, func(ctx context.Context, dir string, r Request) error {
			return script(ctx, dir, "get.mjs", `
import http from "node:http"; import https from "node:https"; import fs from "node:fs";
const [ca, url, maxVersion] = process.argv.slice(2);
(url.startsWith("https:") ? https : http).get(url, {ca: fs.readFileSync(ca), maxVersion, family: 4, agent: false, headers: {"User-Agent": "node"}}, r => { r.resume(); r.on("end", () => process.exit(r.statusCode === 200 ? 0 : 1)); })
  .on("error", e => { console.error(e.message); process.exit(1); });
`, []string{"node"}, r, "TLSv1.2")
		}},
		{"python", "python3", true, func(ctx context.Context, dir string, r Request) error {
			return script(ctx, dir, "get.py", `
import ssl, sys, urllib.request
ctx = ssl.create_default_context(cafile=sys.argv[1])
if len(sys.argv) > 3: ctx.maximum_version = ssl.TLSVersion[sys.argv[3]]
urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ctx)).open(sys.argv[2], timeout=20).read()
`, []string{"/usr/bin/python3"}, r, "TLSv1_2")
		}},
		// Java has two clients for HTTP, which end a handshake in two ways.
		{"java", "default-jdk-headless", true, java("GetHttpClient", `
    HttpResponse<String> r = HttpClient.newBuilder().sslContext(ctx).build().send(HttpRequest.newBuilder(URI.create(a[1])).build(), HttpResponse.BodyHandlers.ofString());
    int status = r.statusCode();`)},
		{"java-urlconnection", "default-jdk-headless", true, java("GetURLConnection", `
    HttpURLConnection c = (HttpURLConnection) new URL(a[1]).openConnection();
    if (c instanceof HttpsURLConnection s) s.setSSLSocketFactory(ctx.getSocketFactory());
    int status = c.getResponseCode();`)},
		{"go", "", true, goClient},
	}
}

// git is linked with the libcurl that uses GnuTLS. That what answers is no
// repository is after its request.
func git(ctx context.Context, dir string, r Request) error {
	env := []string{"GIT_SSL_CAINFO=" + r.CAFile, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1"}
	if r.TLS12 {
		file := filepath.Join(dir, "gnutls.conf")
		if err := os.WriteFile(file, []byte("[overrides]\ndisabled-version = TLS1.3\n"), 0o600); err != nil {
			return err
		}
		env = append(env, "GNUTLS_SYSTEM_PRIORITY_FILE="+file)
	}
	err := tool(ctx, dir, "", "env", append(env, "git", "-c", "http.proxy=", "ls-remote", r.url())...)
	if err != nil && strings.Contains(err.Error(), "is this a git repository?") {
		return nil
	}
	return err
}

func java(name, get string) func(context.Context, string, Request) error {
	return func(ctx context.Context, dir string, r Request) error {
		command := []string{"java", "-Djava.net.preferIPv4Stack=true"}
		if r.TLS12 {
			command = append(command, "-Djdk.tls.client.protocols=TLSv1.2")
		}
		return script(ctx, dir, name+".java", `
import java.io.*; import java.net.*; import java.net.http.*; import java.security.*; import java.security.cert.*; import javax.net.ssl.*;
public class `+name+` {
  public static void main(String[] a) throws Exception {
    KeyStore ks = KeyStore.getInstance(KeyStore.getDefaultType()); ks.load(null, null);
    try (InputStream in = new FileInputStream(a[0])) { ks.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in)); }
    TrustManagerFactory tmf = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm()); tmf.init(ks);
    SSLContext ctx = SSLContext.getInstance("TLS"); ctx.init(null, tmf.getTrustManagers(), null);`+get+`
    System.exit(status == 200 ? 0 : 1);
  }
}
`, command, r, "")
	}
}

func goClient(ctx context.Context, _ string, r Request) error {
	pem, err := os.ReadFile(r.CAFile)
	if err != nil {
		return err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()} //nolint:gosec // its own defaults are what is looked at
	config.RootCAs.AppendCertsFromPEM(pem)
	if r.TLS12 {
		config.MaxVersion = tls.VersionTLS12
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url(), nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New("go got " + resp.Status)
	}
	return nil
}

func request(path, agent string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: " + agent + "\r\nConnection: close\r\n\r\n"
}

// script runs a program that is given the authority's file, the URL and, if it
// may not speak TLS 1.3, what it calls TLS 1.2.
func script(ctx context.Context, dir, name, text string, command []string, r Request, tls12 string) error {
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	args := append(command[1:len(command):len(command)], file, r.CAFile, r.url())
	if r.TLS12 && tls12 != "" {
		args = append(args, tls12)
	}
	return tool(ctx, dir, "", command[0], args...)
}

// tool runs a program; what it is to send is its standard input, which stays
// open until the program ends: some give up a connection at its end.
func tool(ctx context.Context, dir, send, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = environment(dir)
	cmd.WaitDelay = 10 * time.Second // git is several processes
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	_, sent := in.Write([]byte(send))
	err = cmd.Wait()
	if err == nil && send != "" {
		err = sent
	}
	if err != nil {
		s := out.String()
		return fmt.Errorf("%s: %w\n%s", name, err, s[max(0, len(s)-1500):])
	}
	if send != "" && !strings.Contains(out.String(), "HTTP/1.1 200") {
		return errors.New(name + " got no answer: " + out.String())
	}
	return nil
}

// environment is this process's, without proxies, and with a home of its own.
func environment(home string) []string {
	env := append(os.Environ(), "HOME="+home)
	for _, name := range []string{"http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "JAVA_TOOL_OPTIONS", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"} {
		env = append(env, name+"=")
	}
	return env
}
