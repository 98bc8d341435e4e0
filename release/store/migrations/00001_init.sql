-- +goose Up

-- One row per key: the identity of the store and the head of the log.
CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
);

-- What was put into the blob store, under which kind and name.
CREATE TABLE subject (
  digest  TEXT   NOT NULL,
  kind    TEXT   NOT NULL,
  name    TEXT   NOT NULL,
  size    BIGINT NOT NULL,
  created TEXT   NOT NULL,
  PRIMARY KEY (digest, kind, name)
);

-- record is the JSON of a record.Run; digest is that of exactly these bytes.
CREATE TABLE run (
  id      TEXT NOT NULL PRIMARY KEY,
  verb    TEXT NOT NULL,
  status  TEXT NOT NULL,
  started TEXT NOT NULL,
  owner   TEXT NOT NULL,
  digest  TEXT NOT NULL,
  record  TEXT NOT NULL
);
CREATE INDEX run_started ON run (started);

-- Which measurement of which run speaks about which subject.
CREATE TABLE measurement (
  subject TEXT   NOT NULL,
  run     TEXT   NOT NULL REFERENCES run (id),
  ord     BIGINT NOT NULL,
  name    TEXT   NOT NULL,
  PRIMARY KEY (subject, run, ord)
);

-- "release" names the digest of the signed envelope.
CREATE TABLE release_row (
  digest   TEXT   NOT NULL PRIMARY KEY,
  name     TEXT   NOT NULL,
  version  BIGINT NOT NULL,
  model    TEXT   NOT NULL,
  verdict  TEXT   NOT NULL,
  override BIGINT NOT NULL,
  key_id   TEXT   NOT NULL,
  previous TEXT   NOT NULL,
  created  TEXT   NOT NULL,
  UNIQUE (name, version)
);

-- The blobs a release needs, in the order of its statement.
CREATE TABLE release_blob (
  holder TEXT   NOT NULL REFERENCES release_row (digest),
  ord    BIGINT NOT NULL,
  role   TEXT   NOT NULL,
  name   TEXT   NOT NULL,
  digest TEXT   NOT NULL,
  PRIMARY KEY (holder, ord)
);

-- Where a pointer stands now; seq is the entry of the log that put it there.
CREATE TABLE pointer (
  name   TEXT   NOT NULL PRIMARY KEY,
  digest TEXT   NOT NULL,
  seq    BIGINT NOT NULL
);

-- Append-only and hash-chained: moves, finished runs, releases, decisions, alarms.
CREATE TABLE log (
  seq     BIGINT NOT NULL PRIMARY KEY,
  written TEXT   NOT NULL,
  kind    TEXT   NOT NULL,
  subject TEXT   NOT NULL,
  body    TEXT   NOT NULL,
  prev    TEXT   NOT NULL,
  hash    TEXT   NOT NULL
);
CREATE INDEX log_kind_subject ON log (kind, subject, seq);
