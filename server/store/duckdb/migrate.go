package duckdb

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var files embed.FS

// A migration takes the schema from version-1 to version.
type migration struct {
	version int
	sql     string
}

// migrations lists the embedded files, which are numbered from 1 without a gap.
func migrations() []migration {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is wrong
	}
	var ms []migration
	for i, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			panic("duckdb: migration " + name + " is not number " + strconv.Itoa(i+1))
		}
		text, err := files.ReadFile(name)
		if err != nil {
			panic(err) // it is embedded
		}
		ms = append(ms, migration{i + 1, string(text)})
	}
	return ms
}

// migrate brings the schema to the last of ms, each step in a transaction.
func migrate(ctx context.Context, conn *sql.Conn, ms []migration) error {
	if _, err := conn.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"); err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	var version int
	if err := conn.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM schema_version").Scan(&version); err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if version > len(ms) {
		return fmt.Errorf("the file has schema version %d, this program knows up to %d: use the newer program that wrote it", version, len(ms))
	}
	for _, m := range ms[version:] {
		script := fmt.Sprintf("BEGIN TRANSACTION;\n%s\n;INSERT INTO schema_version VALUES (%d);\nCOMMIT;", m.sql, m.version)
		if _, err := conn.ExecContext(ctx, script); err != nil {
			_, _ = conn.ExecContext(ctx, "ROLLBACK")
			return fmt.Errorf("migrating the schema to version %d: %w", m.version, err)
		}
	}
	return nil
}
