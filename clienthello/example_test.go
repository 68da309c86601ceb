package clienthello_test

import (
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/caddy-evergreen/evergreen/clienthello"
)

// The bytes of a connection, as they come, give the client's fingerprints.
func Example() {
	text, err := os.ReadFile("testdata/openssl-hrr.stream.hex")
	if err != nil {
		log.Fatal(err)
	}
	stream, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		log.Fatal(err)
	}

	var records clienthello.Records
	var hello clienthello.Hello
	for len(stream) > 0 {
		segment := stream[:min(1460, len(stream))]
		stream = stream[len(segment):]
		for len(segment) > 0 {
			var e clienthello.Event
			e, segment = records.Next(segment)
			switch {
			case e.Kind == clienthello.Message && e.Type == 1:
				if err := hello.Parse(e.Bytes); err != nil {
					log.Fatal(err)
				}
				fmt.Println(hello.ServerName, hello.KeyShares, hello.JA4())
			case e.Kind == clienthello.Alert:
				fmt.Println("alert", e.Description)
			case e.Kind.Ends():
				fmt.Println("no more in the clear")
			}
		}
	}
	// Output:
	// localhost [29] t13d311000_e8f1e7e78f70_1f22a2ca17c4
	// localhost [25] t13d311000_e8f1e7e78f70_1f22a2ca17c4
	// no more in the clear
}
