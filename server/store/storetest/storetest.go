// Package storetest is the contract of package store as a test, which every
// engine passes.
package storetest
