// Package clients tells what a User-Agent claims to be: a browser with its
// family and major version, a bot with its class and name, a tool or library,
// an app; and the operating system.
//
// What arrives is the header field, which is whatever a client likes to send.
// What leaves is a [Client], values of the dictionary (package wire) and nothing
// else: no part of the string survives.
//
// A User-Agent is read once, word by word; each word is looked up in a table
// that says what it stands for and how much that counts. There are no regular
// expressions. Agreement with a public corpus is in docs/clients.md.
package clients
