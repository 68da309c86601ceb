package recorder

import (
	"context"
	"strconv"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	otelmetric "go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// The same counting with OpenTelemetry, whose SDK is in Caddy's module graph
// already; only this benchmark imports it.
func BenchmarkOpenTelemetry(b *testing.B) {
	ctx := context.Background()
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())).Meter("bench")
	counter := func(name string) otelmetric.Int64Counter {
		c, err := meter.Int64Counter(name)
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	histogram := func(name string) otelmetric.Int64Histogram {
		h, err := meter.Int64Histogram(name)
		if err != nil {
			b.Fatal(err)
		}
		return h
	}
	inFlight, err := meter.Int64UpDownCounter("in_flight")
	if err != nil {
		b.Fatal(err)
	}
	requests, method, transport := counter("requests"), counter("method"), counter("transport")
	clients, browsers, platforms := counter("clients"), counter("browsers"), counter("platforms")
	requestSize, responseSize := histogram("request_size"), histogram("response_size")
	first, total := histogram("first_byte"), histogram("duration")
	str := attribute.String

	b.Run("request-attributes", func(b *testing.B) {
		q := aRequest()
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			inFlight.Add(ctx, 1)
			requests.Add(ctx, 1, otelmetric.WithAttributes(str("protocol", "http/2"), str("status", strconv.Itoa(q.Status)), str("role", "site")))
			method.Add(ctx, 1, otelmetric.WithAttributes(str("method", q.Method), str("status_class", "2xx"), str("role", "site")))
			transport.Add(ctx, 1, otelmetric.WithAttributes(str("transport", "tls"), str("family", "ipv4"), str("protocol", "http/2"), str("role", "site")))
			class := otelmetric.WithAttributeSet(attribute.NewSet(str("protocol", "http/2"), str("status_class", "2xx")))
			requestSize.Record(ctx, q.RequestBytes, class)
			responseSize.Record(ctx, q.ResponseBytes, class)
			first.Record(ctx, q.FirstByte.Microseconds(), class)
			total.Record(ctx, q.Duration.Microseconds(), class)
			clients.Add(ctx, 1, otelmetric.WithAttributes(str("kind", "browser"), str("protocol", "http/2")))
			browsers.Add(ctx, 1, otelmetric.WithAttributes(str("browser", "chrome"), str("version", "143")))
			platforms.Add(ctx, 1, otelmetric.WithAttributes(str("os", "windows"), str("kind", "browser")))
			inFlight.Add(ctx, -1)
		}
	})
	b.Run("counter-attributes", func(b *testing.B) {
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			requests.Add(ctx, 1, otelmetric.WithAttributes(str("protocol", "http/2"), str("status", "200"), str("role", "site")))
		}
	})
	b.Run("counter-prebuilt", func(b *testing.B) {
		options := []otelmetric.AddOption{otelmetric.WithAttributeSet(attribute.NewSet(str("protocol", "http/2"), str("status", "200"), str("role", "site")))}
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			requests.Add(ctx, 1, options...)
		}
	})
	b.Run("histogram-prebuilt", func(b *testing.B) {
		options := []otelmetric.RecordOption{otelmetric.WithAttributeSet(attribute.NewSet(str("protocol", "http/2"), str("status_class", "2xx")))}
		var v int64
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			total.Record(ctx, v, options...)
			v = (v*5 + 1) & 0xfffff
		}
	})
}
