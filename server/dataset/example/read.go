// Read prints requests a day, by protocol: go run read.go https://SERVICE
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
)

func main() {
	service := "https://SERVICE"
	if len(os.Args) > 1 {
		service = os.Args[1]
	}
	var manifest struct {
		Files []struct{ Path, Metric, Grain, Format string }
	}
	if err := json.Unmarshal(get(service+"/dataset/manifest.json"), &manifest); err != nil {
		log.Fatal(err)
	}
	sums := map[string]int64{}
	for _, f := range manifest.Files {
		if f.Metric != "http.requests" || f.Grain != "day" || f.Format != "parquet" {
			continue
		}
		file := get(service + "/dataset/" + f.Path)
		rows, err := parquet.Read[struct {
			Time     time.Time `parquet:"time,timestamp(millisecond)"`
			Facet    string    `parquet:"facet"`
			Protocol string    `parquet:"protocol,optional"`
			Rest     bool      `parquet:"rest"`
			Count    int64     `parquet:"count"`
		}](bytes.NewReader(file), int64(len(file)))
		if err != nil {
			log.Fatal(err)
		}
		for _, row := range rows {
			// Each facet parts the same requests, so that sums are over one of them. A
			// rest is the sum of the groups that are too small to be shown.
			if row.Facet == "all" && !row.Rest {
				sums[row.Time.UTC().Format(time.DateOnly)+","+row.Protocol] += row.Count
			}
		}
	}
	fmt.Println("time,protocol,count")
	for _, k := range slices.Sorted(maps.Keys(sums)) {
		fmt.Printf("%s,%d\n", k, sums[k])
	}
}

func get(url string) []byte {
	resp, err := http.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	if err != nil {
		log.Fatal(err)
	}
	return b
}
