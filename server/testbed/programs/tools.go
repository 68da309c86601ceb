package programs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Tool is a program that makes one HTTPS request to https://localhost:port/path
// and trusts the authorities in caFile only. Its error is the program's own: a
// handshake that fails makes it fail.
type Tool struct {
	Name    string
	Package string // of Debian
	Get     func(ctx context.Context, dir, caFile, port, path string) error
}

// Tools are the command-line clients and languages that Debian has; between them
// they use OpenSSL, GnuTLS, and the TLS of Go and Java.
func Tools() []Tool {
	return []Tool{
		{"curl", "curl", func(ctx context.Context, dir, ca, port, path string) error {
			return tool(ctx, dir, "", "curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "20",
				"--resolve", "localhost:"+port+":127.0.0.1", "--cacert", ca, "https://localhost:"+port+path)
		}},
		{"wget", "wget", func(ctx context.Context, dir, ca, port, path string) error {
			return tool(ctx, dir, "", "wget", "--quiet", "--no-proxy", "--inet4-only", "--tries=1", "--timeout=20", "--no-hsts",
				"--output-document=/dev/null", "--ca-certificate="+ca, "https://localhost:"+port+path)
		}},
		{"gnutls-cli", "gnutls-bin", func(ctx context.Context, dir, ca, port, path string) error {
			return tool(ctx, dir, request(path, "gnutls-cli"), "gnutls-cli", "--x509cafile="+ca, "--port="+port, "localhost")
		}},
		{"openssl", "openssl", func(ctx context.Context, dir, ca, port, path string) error {
			return tool(ctx, dir, request(path, "openssl"), "openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", ca,
				"-servername", "localhost", "-verify_hostname", "localhost", "-connect", "127.0.0.1:"+port)
		}},
		{"node", "nodejs", func(ctx context.Context, dir, ca, port, path string) error {
			return script(ctx, dir, "get.mjs", `
import https from "node:https"; import fs from "node:fs";
const [ca, url] = process.argv.slice(2);
https.get(url, {ca: fs.readFileSync(ca), family: 4, agent: false, headers: {"User-Agent": "node"}}, r => { r.resume(); r.on("end", () => process.exit(r.statusCode === 200 ? 0 : 1)); })
  .on("error", e => { console.error(e.message); process.exit(1); });
`, []string{"node"}, ca, "https://localhost:"+port+path)
		}},
		{"python", "python3", func(ctx context.Context, dir, ca, port, path string) error {
			return script(ctx, dir, "get.py", `
import ssl, sys, urllib.request
ctx = ssl.create_default_context(cafile=sys.argv[1])
urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ctx)).open(sys.argv[2], timeout=20).read()
`, []string{"/usr/bin/python3"}, ca, "https://localhost:"+port+path)
		}},
		{"java", "default-jdk-headless", func(ctx context.Context, dir, ca, port, path string) error {
			return script(ctx, dir, "Get.java", `
import java.io.*; import java.net.*; import java.net.http.*; import java.security.*; import java.security.cert.*; import javax.net.ssl.*;
public class Get {
  public static void main(String[] a) throws Exception {
    KeyStore ks = KeyStore.getInstance(KeyStore.getDefaultType()); ks.load(null, null);
    try (InputStream in = new FileInputStream(a[0])) { ks.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in)); }
    TrustManagerFactory tmf = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm()); tmf.init(ks);
    SSLContext ctx = SSLContext.getInstance("TLS"); ctx.init(null, tmf.getTrustManagers(), null);
    HttpResponse<String> r = HttpClient.newBuilder().sslContext(ctx).build().send(HttpRequest.newBuilder(URI.create(a[1])).build(), HttpResponse.BodyHandlers.ofString());
    System.exit(r.statusCode() == 200 ? 0 : 1);
  }
}
`, []string{"java", "-Djava.net.preferIPv4Stack=true"}, ca, "https://localhost:"+port+path)
		}},
	}
}

func request(path, agent string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: " + agent + "\r\nConnection: close\r\n\r\n"
}

func script(ctx context.Context, dir, name, text string, command []string, args ...string) error {
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return tool(ctx, dir, "", command[0], append(append(command[1:len(command):len(command)], file), args...)...)
}

// tool runs a program; what it is to send is its standard input, which stays
// open until the program ends: some give up a connection at its end.
func tool(ctx context.Context, dir, send, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = environment(dir)
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
