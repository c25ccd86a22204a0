CREATE TABLE leaves (
  idx INTEGER PRIMARY KEY CHECK (idx >= 0),
  leaf_hash BLOB NOT NULL CHECK (length(leaf_hash) = 32),
  leaf_type TEXT NOT NULL,
  time TEXT NOT NULL,
  uid TEXT UNIQUE,
  decision_id TEXT UNIQUE,
  request_digest TEXT,
  cluster TEXT NOT NULL,
  environment TEXT NOT NULL,
  namespace TEXT NOT NULL,
  kind TEXT NOT NULL,
  object_name TEXT NOT NULL,
  requester TEXT NOT NULL,
  model TEXT NOT NULL,
  projection TEXT NOT NULL,
  allowed INTEGER CHECK (allowed IN (0, 1)),
  approved INTEGER CHECK (approved IN (0, 1)),
  violations TEXT NOT NULL,
  leaf BLOB NOT NULL CHECK (length(leaf) <= 32768)
) STRICT;
CREATE TABLE state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  origin TEXT NOT NULL,
  size INTEGER NOT NULL CHECK (size >= 0),
  frontier BLOB NOT NULL
) STRICT;
CREATE TABLE checkpoints (
  size INTEGER PRIMARY KEY CHECK (size >= 0),
  root BLOB NOT NULL CHECK (length(root) = 32),
  frontier BLOB NOT NULL,
  note TEXT NOT NULL
) STRICT;
CREATE TABLE blobs (
  idx INTEGER NOT NULL,
  name TEXT NOT NULL,
  sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
  content BLOB NOT NULL,
  UNIQUE (idx, name)
) STRICT;
CREATE TABLE blocks (
  block INTEGER PRIMARY KEY CHECK (block >= 0),
  earliest TEXT NOT NULL,
  latest TEXT NOT NULL
) STRICT;
CREATE TABLE terms (
  block INTEGER NOT NULL,
  term INTEGER NOT NULL,
  members BLOB NOT NULL CHECK (length(members) >= 2),
  PRIMARY KEY (block, term)
) STRICT, WITHOUT ROWID;
CREATE TABLE segments (
  segment INTEGER PRIMARY KEY CHECK (segment >= 0),
  earliest TEXT NOT NULL,
  latest TEXT NOT NULL,
  parts INTEGER NOT NULL CHECK (parts >= 0)
) STRICT;
CREATE TABLE postings (
  segment INTEGER NOT NULL,
  first INTEGER NOT NULL,
  entries BLOB NOT NULL CHECK (length(entries) >= 14),
  PRIMARY KEY (segment, first)
) STRICT;
CREATE INDEX leaves_by_object ON leaves (environment, namespace, kind, object_name, idx) WHERE allowed = 1;
CREATE INDEX leaves_by_model ON leaves (model, environment, cluster, idx) WHERE approved = 1;
CREATE INDEX leaves_by_content ON leaves (projection, object_name, namespace, kind, environment, cluster, idx) WHERE approved = 1;
CREATE INDEX leaves_by_type ON leaves (leaf_type, idx) WHERE leaf_type <> 'decision';
CREATE TRIGGER leaves_in_order BEFORE INSERT ON leaves WHEN NEW.idx <> (SELECT coalesce(max(idx) + 1, 0) FROM leaves) BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER leaves_no_update BEFORE UPDATE ON leaves BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER leaves_no_delete BEFORE DELETE ON leaves BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER checkpoints_no_update BEFORE UPDATE ON checkpoints BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER checkpoints_no_delete BEFORE DELETE ON checkpoints BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER state_no_delete BEFORE DELETE ON state BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER blobs_no_update BEFORE UPDATE ON blobs BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
