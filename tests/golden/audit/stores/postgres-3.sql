BEGIN;
CREATE SCHEMA placet;
COMMENT ON SCHEMA placet IS 'record of placet, version 3';
CREATE TABLE placet.leaves (
  idx bigint PRIMARY KEY CHECK (idx >= 0),
  leaf_hash bytea NOT NULL CHECK (length(leaf_hash) = 32),
  leaf_type text COLLATE "C" NOT NULL,
  time text COLLATE "C" NOT NULL,
  uid text COLLATE "C" UNIQUE,
  decision_id text COLLATE "C" UNIQUE,
  request_digest text COLLATE "C",
  cluster text COLLATE "C" NOT NULL,
  environment text COLLATE "C" NOT NULL,
  namespace text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL,
  object_name text COLLATE "C" NOT NULL,
  requester text COLLATE "C" NOT NULL,
  model text COLLATE "C" NOT NULL,
  projection text COLLATE "C" NOT NULL,
  allowed bigint CHECK (allowed IN (0, 1)),
  approved bigint CHECK (approved IN (0, 1)),
  violations text COLLATE "C" NOT NULL,
  leaf bytea NOT NULL CHECK (length(leaf) <= 32768)
);
CREATE TABLE placet.state (
  id bigint PRIMARY KEY CHECK (id = 1),
  origin text COLLATE "C" NOT NULL,
  size bigint NOT NULL CHECK (size >= 0),
  frontier bytea NOT NULL
);
CREATE TABLE placet.checkpoints (
  size bigint PRIMARY KEY CHECK (size >= 0),
  root bytea NOT NULL CHECK (length(root) = 32),
  frontier bytea NOT NULL,
  note text COLLATE "C" NOT NULL
);
CREATE TABLE placet.blobs (
  idx bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  sha256 bytea NOT NULL CHECK (length(sha256) = 32),
  content bytea NOT NULL,
  UNIQUE (idx, name)
);
CREATE TABLE placet.blocks (
  block bigint PRIMARY KEY CHECK (block >= 0),
  earliest text COLLATE "C" NOT NULL,
  latest text COLLATE "C" NOT NULL
);
CREATE TABLE placet.terms (
  block bigint NOT NULL,
  term bigint NOT NULL,
  members bytea NOT NULL CHECK (length(members) >= 2),
  PRIMARY KEY (block, term)
);
CREATE INDEX leaves_by_object ON placet.leaves (environment, namespace, kind, object_name, idx) WHERE allowed = 1;
CREATE INDEX leaves_by_model ON placet.leaves (model, environment, cluster, idx) WHERE approved = 1;
CREATE INDEX leaves_by_content ON placet.leaves (projection, object_name, namespace, kind, environment, cluster, idx) WHERE approved = 1;
CREATE INDEX leaves_by_type ON placet.leaves (leaf_type, idx) WHERE leaf_type <> 'decision';
CREATE FUNCTION placet.refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$BEGIN RAISE EXCEPTION 'the record is append-only' USING ERRCODE = 'PL001'; END$$;
CREATE FUNCTION placet.require_order() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$BEGIN IF NEW.idx <> (SELECT coalesce(max(idx) + 1, 0) FROM placet.leaves) THEN RAISE EXCEPTION 'the record is append-only' USING ERRCODE = 'PL001'; END IF; RETURN NEW; END$$;
CREATE TRIGGER leaves_no_update BEFORE UPDATE ON placet.leaves FOR EACH ROW EXECUTE FUNCTION placet.refuse();
CREATE TRIGGER leaves_no_delete BEFORE DELETE ON placet.leaves FOR EACH ROW EXECUTE FUNCTION placet.refuse();
CREATE TRIGGER leaves_no_truncate BEFORE TRUNCATE ON placet.leaves FOR EACH STATEMENT EXECUTE FUNCTION placet.refuse();
CREATE TRIGGER checkpoints_no_update BEFORE UPDATE ON placet.checkpoints FOR EACH ROW EXECUTE FUNCTION placet.refuse();
CREATE TRIGGER checkpoints_no_delete BEFORE DELETE ON placet.checkpoints FOR EACH ROW EXECUTE FUNCTION placet.refuse();
CREATE TRIGGER checkpoints_no_truncate BEFORE TRUNCATE ON placet.checkpoints FOR EACH STATEMENT EXECUTE FUNCTION placet.refuse();
CREATE TRIGGER state_no_delete BEFORE DELETE ON placet.state FOR EACH ROW EXECUTE FUNCTION placet.refuse();
CREATE TRIGGER state_no_truncate BEFORE TRUNCATE ON placet.state FOR EACH STATEMENT EXECUTE FUNCTION placet.refuse();
CREATE TRIGGER blobs_no_update BEFORE UPDATE ON placet.blobs FOR EACH ROW EXECUTE FUNCTION placet.refuse();
CREATE TRIGGER blobs_no_truncate BEFORE TRUNCATE ON placet.blobs FOR EACH STATEMENT EXECUTE FUNCTION placet.refuse();
CREATE TRIGGER leaves_in_order BEFORE INSERT ON placet.leaves FOR EACH ROW EXECUTE FUNCTION placet.require_order();
INSERT INTO placet.state (id, origin, size, frontier) VALUES (1, 'placet.dev/log/test', 0, '');
REVOKE ALL ON SCHEMA placet FROM PUBLIC;
DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'placet_gate') THEN CREATE ROLE "placet_gate" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE; END IF; END $do$;
GRANT USAGE ON SCHEMA placet TO "placet_gate";
GRANT SELECT, INSERT ON placet.leaves, placet.blobs, placet.checkpoints, placet.blocks, placet.terms TO "placet_gate";
GRANT SELECT, UPDATE (size, frontier) ON placet.state TO "placet_gate";
DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'placet_auditor') THEN CREATE ROLE "placet_auditor" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE; END IF; END $do$;
GRANT USAGE ON SCHEMA placet TO "placet_auditor";
GRANT SELECT ON placet.leaves, placet.state, placet.checkpoints, placet.blobs, placet.blocks, placet.terms TO "placet_auditor";
COMMIT;
