package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strings"

	"muster/record"
)

// digestColumn is the schema part of the digest of one column.
type digestColumn struct {
	Name       string   `json:"name"`
	Kind       Kind     `json:"kind"`
	Shape      []int    `json:"shape"`
	Categories []string `json:"categories,omitempty"`
	Min        *float64 `json:"min,omitempty"`
	Max        *float64 `json:"max,omitempty"`
	Unit       string   `json:"unit,omitempty"`
}

// Digest returns the content digest: SHA-256 of a version tag, the canonical JSON
// of the schema, and for each column its missing mask and its values, each with
// its length in front. Names of files, source lines and roles are not content.
func (s *Set) Digest() record.Digest {
	h := sha256.New()
	frame(h, []byte("muster.data/1"))
	schema := make([]digestColumn, len(s.Columns))
	for i, c := range s.Columns {
		schema[i] = digestColumn{c.Name, c.Kind, c.Values.Shape, c.Categories, c.Min, c.Max, c.Unit}
	}
	b, err := record.Canonical(map[string]any{"columns": schema, "target": s.Target})
	if err != nil {
		panic("data: schema of a validated set: " + err.Error())
	}
	frame(h, b)
	for _, c := range s.Columns {
		mask := make([]byte, len(c.Missing))
		for i, m := range c.Missing {
			if m {
				mask[i] = 1
			}
		}
		frame(h, mask)
		frame(h, c.Values.Data)
	}
	return sum(h)
}

// RolesDigest returns the digest of the roles alone.
func (s *Set) RolesDigest() record.Digest {
	var b strings.Builder
	for i, n := 0, s.Len(); i < n; i++ {
		b.WriteByte(roleLetter(s.Role(i)))
	}
	h := sha256.New()
	frame(h, []byte("muster.roles/1"))
	frame(h, []byte(b.String()))
	return sum(h)
}

func frame(h hash.Hash, b []byte) {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(b)))
	h.Write(n[:])
	h.Write(b)
}

func sum(h hash.Hash) record.Digest {
	return record.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
}
