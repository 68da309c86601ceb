// Package programs runs what nobody here wrote: browsers, TLS clients, and
// interceptors that end TLS and begin it anew, as antivirus programs, companies'
// middleboxes and malware do.
//
// A server's address goes in; out comes what a client has to open to reach it,
// directly or through an interceptor. All interceptors sign with one throw-away
// authority that the clients are told to trust. Nothing leaves the loopback
// interface.
package programs
