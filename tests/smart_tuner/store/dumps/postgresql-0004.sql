SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA mlflow;
CREATE SCHEMA optuna;
CREATE SCHEMA smart_tuner;
CREATE TYPE optuna.studydirection AS ENUM (
    'NOT_SET',
    'MINIMIZE',
    'MAXIMIZE'
);
CREATE TYPE optuna.trialintermediatevaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG',
    'NAN'
);
CREATE TYPE optuna.trialstate AS ENUM (
    'RUNNING',
    'COMPLETE',
    'PRUNED',
    'FAIL',
    'WAITING'
);
CREATE TYPE optuna.trialvaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG'
);
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE optuna.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE optuna.studies (
    study_id integer NOT NULL,
    study_name character varying(512) NOT NULL
);
CREATE SEQUENCE optuna.studies_study_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE optuna.studies_study_id_seq OWNED BY optuna.studies.study_id;
CREATE TABLE optuna.study_directions (
    study_direction_id integer NOT NULL,
    direction optuna.studydirection NOT NULL,
    study_id integer NOT NULL,
    objective integer NOT NULL
);
CREATE SEQUENCE optuna.study_directions_study_direction_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE optuna.study_directions_study_direction_id_seq OWNED BY optuna.study_directions.study_direction_id;
CREATE TABLE optuna.study_system_attributes (
    study_system_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE optuna.study_system_attributes_study_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE optuna.study_system_attributes_study_system_attribute_id_seq OWNED BY optuna.study_system_attributes.study_system_attribute_id;
CREATE TABLE optuna.study_user_attributes (
    study_user_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE optuna.study_user_attributes_study_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE optuna.study_user_attributes_study_user_attribute_id_seq OWNED BY optuna.study_user_attributes.study_user_attribute_id;
CREATE TABLE optuna.trial_heartbeats (
    trial_heartbeat_id integer NOT NULL,
    trial_id integer NOT NULL,
    heartbeat timestamp without time zone NOT NULL
);
CREATE SEQUENCE optuna.trial_heartbeats_trial_heartbeat_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE optuna.trial_heartbeats_trial_heartbeat_id_seq OWNED BY optuna.trial_heartbeats.trial_heartbeat_id;
CREATE TABLE optuna.trial_intermediate_values (
    trial_intermediate_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    step integer NOT NULL,
    intermediate_value double precision,
    intermediate_value_type optuna.trialintermediatevaluetype NOT NULL
);
CREATE SEQUENCE optuna.trial_intermediate_values_trial_intermediate_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE optuna.trial_intermediate_values_trial_intermediate_value_id_seq OWNED BY optuna.trial_intermediate_values.trial_intermediate_value_id;
CREATE TABLE optuna.trial_params (
    param_id integer NOT NULL,
    trial_id integer,
    param_name character varying(512),
    param_value double precision,
    distribution_json text
);
CREATE SEQUENCE optuna.trial_params_param_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE optuna.trial_params_param_id_seq OWNED BY optuna.trial_params.param_id;
CREATE TABLE optuna.trial_system_attributes (
    trial_system_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE optuna.trial_system_attributes_trial_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE optuna.trial_system_attributes_trial_system_attribute_id_seq OWNED BY optuna.trial_system_attributes.trial_system_attribute_id;
CREATE TABLE optuna.trial_user_attributes (
    trial_user_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE optuna.trial_user_attributes_trial_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE optuna.trial_user_attributes_trial_user_attribute_id_seq OWNED BY optuna.trial_user_attributes.trial_user_attribute_id;
CREATE TABLE optuna.trial_values (
    trial_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    objective integer NOT NULL,
    value double precision,
    value_type optuna.trialvaluetype NOT NULL
);
CREATE SEQUENCE optuna.trial_values_trial_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE optuna.trial_values_trial_value_id_seq OWNED BY optuna.trial_values.trial_value_id;
CREATE TABLE optuna.trials (
    trial_id integer NOT NULL,
    number integer,
    study_id integer,
    state optuna.trialstate NOT NULL,
    datetime_start timestamp without time zone,
    datetime_complete timestamp without time zone
);
CREATE SEQUENCE optuna.trials_trial_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE optuna.trials_trial_id_seq OWNED BY optuna.trials.trial_id;
CREATE TABLE optuna.version_info (
    version_info_id integer NOT NULL,
    schema_version integer,
    library_version character varying(256),
    CONSTRAINT version_info_version_info_id_check CHECK ((version_info_id = 1))
);
CREATE TABLE smart_tuner.smart_tuner_alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE smart_tuner.st_chat (
    name character varying(200) NOT NULL,
    value json NOT NULL,
    at double precision NOT NULL
);
CREATE TABLE smart_tuner.st_checkpoint (
    id integer NOT NULL,
    study_uid character varying(32) NOT NULL,
    trial integer NOT NULL,
    attempt_uid character varying(32) NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    step integer NOT NULL,
    place text NOT NULL,
    sha256 character varying(64) NOT NULL
);
CREATE SEQUENCE smart_tuner.st_checkpoint_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE smart_tuner.st_checkpoint_id_seq OWNED BY smart_tuner.st_checkpoint.id;
CREATE TABLE smart_tuner.st_lease (
    id integer NOT NULL,
    study_uid character varying(32) NOT NULL,
    number integer,
    state character varying(16) NOT NULL,
    attempt_uid character varying(32) NOT NULL,
    attempt_no integer NOT NULL,
    deaths integer NOT NULL,
    owner json NOT NULL,
    beat integer NOT NULL,
    expires_at double precision NOT NULL,
    outcome json
);
CREATE SEQUENCE smart_tuner.st_lease_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE smart_tuner.st_lease_id_seq OWNED BY smart_tuner.st_lease.id;
CREATE TABLE smart_tuner.st_outbox (
    id integer NOT NULL,
    study_uid character varying(32) NOT NULL,
    trial integer,
    channel character varying(16) NOT NULL,
    key character varying(200) NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    payload json NOT NULL,
    tries integer NOT NULL,
    due_at double precision NOT NULL,
    state character varying(16) NOT NULL,
    error text
);
CREATE SEQUENCE smart_tuner.st_outbox_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE smart_tuner.st_outbox_id_seq OWNED BY smart_tuner.st_outbox.id;
CREATE TABLE smart_tuner.st_rating (
    id integer NOT NULL,
    study_uid character varying(32) NOT NULL,
    trial integer NOT NULL,
    step integer NOT NULL,
    sample character varying(64) NOT NULL,
    text text NOT NULL,
    rater character varying(32) NOT NULL,
    score integer NOT NULL,
    blind boolean NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE SEQUENCE smart_tuner.st_rating_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE smart_tuner.st_rating_id_seq OWNED BY smart_tuner.st_rating.id;
CREATE TABLE smart_tuner.st_repair (
    id integer NOT NULL,
    study_uid character varying(32) NOT NULL,
    trial integer NOT NULL,
    seq integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    policy character varying(64) NOT NULL,
    kind character varying(16) NOT NULL,
    step integer NOT NULL,
    rule character varying(64) NOT NULL,
    level integer NOT NULL,
    priority integer NOT NULL,
    reason text NOT NULL,
    evidence json NOT NULL,
    suppressed json NOT NULL,
    action text NOT NULL,
    changes json NOT NULL,
    ramp integer NOT NULL,
    back_to integer,
    fresh character varying(64),
    clips json NOT NULL,
    rung integer,
    verify_at integer,
    verdict character varying(16),
    before json NOT NULL,
    after json NOT NULL,
    parent integer
);
CREATE SEQUENCE smart_tuner.st_repair_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE smart_tuner.st_repair_id_seq OWNED BY smart_tuner.st_repair.id;
ALTER TABLE ONLY optuna.studies ALTER COLUMN study_id SET DEFAULT nextval('optuna.studies_study_id_seq'::regclass);
ALTER TABLE ONLY optuna.study_directions ALTER COLUMN study_direction_id SET DEFAULT nextval('optuna.study_directions_study_direction_id_seq'::regclass);
ALTER TABLE ONLY optuna.study_system_attributes ALTER COLUMN study_system_attribute_id SET DEFAULT nextval('optuna.study_system_attributes_study_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY optuna.study_user_attributes ALTER COLUMN study_user_attribute_id SET DEFAULT nextval('optuna.study_user_attributes_study_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY optuna.trial_heartbeats ALTER COLUMN trial_heartbeat_id SET DEFAULT nextval('optuna.trial_heartbeats_trial_heartbeat_id_seq'::regclass);
ALTER TABLE ONLY optuna.trial_intermediate_values ALTER COLUMN trial_intermediate_value_id SET DEFAULT nextval('optuna.trial_intermediate_values_trial_intermediate_value_id_seq'::regclass);
ALTER TABLE ONLY optuna.trial_params ALTER COLUMN param_id SET DEFAULT nextval('optuna.trial_params_param_id_seq'::regclass);
ALTER TABLE ONLY optuna.trial_system_attributes ALTER COLUMN trial_system_attribute_id SET DEFAULT nextval('optuna.trial_system_attributes_trial_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY optuna.trial_user_attributes ALTER COLUMN trial_user_attribute_id SET DEFAULT nextval('optuna.trial_user_attributes_trial_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY optuna.trial_values ALTER COLUMN trial_value_id SET DEFAULT nextval('optuna.trial_values_trial_value_id_seq'::regclass);
ALTER TABLE ONLY optuna.trials ALTER COLUMN trial_id SET DEFAULT nextval('optuna.trials_trial_id_seq'::regclass);
ALTER TABLE ONLY smart_tuner.st_checkpoint ALTER COLUMN id SET DEFAULT nextval('smart_tuner.st_checkpoint_id_seq'::regclass);
ALTER TABLE ONLY smart_tuner.st_lease ALTER COLUMN id SET DEFAULT nextval('smart_tuner.st_lease_id_seq'::regclass);
ALTER TABLE ONLY smart_tuner.st_outbox ALTER COLUMN id SET DEFAULT nextval('smart_tuner.st_outbox_id_seq'::regclass);
ALTER TABLE ONLY smart_tuner.st_rating ALTER COLUMN id SET DEFAULT nextval('smart_tuner.st_rating_id_seq'::regclass);
ALTER TABLE ONLY smart_tuner.st_repair ALTER COLUMN id SET DEFAULT nextval('smart_tuner.st_repair_id_seq'::regclass);
INSERT INTO optuna.alembic_version VALUES ('v3.2.0.a');
INSERT INTO optuna.studies VALUES (1, 'old');
INSERT INTO optuna.study_directions VALUES (1, 'MINIMIZE', 1, 0);
INSERT INTO optuna.study_user_attributes VALUES (1, 1, 'policy', '"1b934808c758b018dfd48e329b9868b9b47ea1ee4cf0b4bbaa19ec7c2b5d6d1e"');
INSERT INTO optuna.study_user_attributes VALUES (2, 1, 'uid', '"b9822ed709fe42daa1d93be5e99e4325"');
INSERT INTO optuna.study_user_attributes VALUES (3, 1, 'spec', '"{\"name\":\"old\",\"question\":\"Which learning rate, guidance and gate weight make a small voice speak soonest?\",\"seed\":1,\"corpus\":{\"language\":\"en\",\"resample_from\":null,\"min_seconds\":0.4,\"max_seconds\":12.0,\"trim_db\":40.0,\"held_out\":16,\"max_bad_percent\":5.0,\"source\":\"espeak\",\"clips\":720,\"voice\":\"\",\"seed\":0},\"model\":{\"size\":\"small\",\"warm_start\":null},\"settings\":{\"n_frames_per_step\":4},\"space\":{\"learning_rate\":{\"when\":{},\"type\":\"float\",\"low\":0.001,\"high\":0.008,\"log\":true,\"step\":null},\"batch_size\":{\"when\":{},\"type\":\"categorical\",\"choices\":[8,16]},\"guided_attention_weight\":{\"when\":{},\"type\":\"float\",\"low\":0.0,\"high\":4.0,\"log\":false,\"step\":0.5},\"guided_attention_sigma\":{\"when\":{\"guided_attention_weight\":{\"one_of\":[],\"above\":0.0,\"below\":null}},\"type\":\"float\",\"low\":0.1,\"high\":0.4,\"log\":false,\"step\":null},\"gate_positive_weight\":{\"when\":{},\"type\":\"float\",\"low\":1.0,\"high\":20.0,\"log\":true,\"step\":null},\"p_attention_dropout\":{\"when\":{},\"type\":\"float\",\"low\":0.0,\"high\":0.3,\"log\":false,\"step\":null}},\"sampler\":{\"name\":\"tpe\",\"n_startup_trials\":4},\"pruner\":{\"name\":\"asha\",\"min_resource\":100,\"reduction_factor\":3},\"rules\":{\"mode\":\"on\",\"credit\":\"policy\",\"fresh_share\":0.2,\"thresholds\":{}},\"budget\":{\"trials\":8,\"hours\":null,\"consumed_steps\":null,\"failures\":5,\"retries\":3},\"notify\":{\"language\":\"en\",\"quiet\":\"none\",\"digest_minutes\":0},\"objective\":{\"steps\":400,\"measure_every\":100,\"validate_every\":null,\"sentences\":8,\"draws\":2,\"checkpoint_every\":100,\"speak\":\"Soon the brave mouse dances by the sea.\"}}"');
INSERT INTO optuna.study_user_attributes VALUES (4, 1, 'yardstick', '{"cap": 9.0, "ceiling": 1.5}');
INSERT INTO optuna.trial_intermediate_values VALUES (1, 1, 100, 3.5, 'FINITE');
INSERT INTO optuna.trial_intermediate_values VALUES (2, 2, 50, NULL, 'INF_POS');
INSERT INTO optuna.trial_intermediate_values VALUES (3, 2, 100, 2.25, 'FINITE');
INSERT INTO optuna.trial_intermediate_values VALUES (4, 3, 100, 9, 'FINITE');
INSERT INTO optuna.trial_params VALUES (1, 1, 'learning_rate', 0.00040185297812872826, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.004, "log": true}}');
INSERT INTO optuna.trial_params VALUES (2, 2, 'learning_rate', 0.0008121259728584193, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.004, "log": true}}');
INSERT INTO optuna.trial_params VALUES (3, 3, 'learning_rate', 0.0028586556947802254, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.004, "log": true}}');
INSERT INTO optuna.trial_params VALUES (4, 4, 'learning_rate', 0.001470062344079233, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.004, "log": true}}');
INSERT INTO optuna.trial_params VALUES (5, 5, 'learning_rate', 0.0006928419582169695, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.004, "log": true}}');
INSERT INTO optuna.trial_system_attributes VALUES (1, 6, 'fixed_params', '{"learning_rate": 0.002}');
INSERT INTO optuna.trial_user_attributes VALUES (1, 1, 'settings', '{"batch_size": 8, "learning_rate": 0.001}');
INSERT INTO optuna.trial_user_attributes VALUES (2, 1, 'measures', '[{"step": 100, "value": 3.5, "seconds": 3.5, "aligned_share": 3.5, "failure_share": 3.5, "shortest": 3.5, "longest": 3.5}]');
INSERT INTO optuna.trial_user_attributes VALUES (3, 2, 'settings', '{"batch_size": 8, "learning_rate": 0.001}');
INSERT INTO optuna.trial_user_attributes VALUES (4, 2, 'measures', '[{"step": 100, "value": 2.25, "seconds": 2.25, "aligned_share": 2.25, "failure_share": 2.25, "shortest": 2.25, "longest": 2.25}]');
INSERT INTO optuna.trial_user_attributes VALUES (5, 3, 'settings', '{"batch_size": 8, "learning_rate": 0.001}');
INSERT INTO optuna.trial_user_attributes VALUES (6, 3, 'ended_by', '{"rule": "collapse"}');
INSERT INTO optuna.trial_user_attributes VALUES (7, 3, 'measures', '[{"step": 100, "value": 9.0, "seconds": 9.0, "aligned_share": 9.0, "failure_share": 9.0, "shortest": 9.0, "longest": 9.0}]');
INSERT INTO optuna.trial_user_attributes VALUES (8, 3, 'reason', '"step 300: collapse: diagonal_score fell from 0.90 to 0.10; nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)"');
INSERT INTO optuna.trial_user_attributes VALUES (9, 4, 'settings', '{"batch_size": 8, "learning_rate": 0.001}');
INSERT INTO optuna.trial_user_attributes VALUES (10, 5, 'settings', '{"batch_size": 8, "learning_rate": 0.001}');
INSERT INTO optuna.trial_user_attributes VALUES (11, 6, 'fresh_of', '1');
INSERT INTO optuna.trial_values VALUES (1, 1, 0, 3.5, 'FINITE');
INSERT INTO optuna.trial_values VALUES (2, 2, 0, 2.25, 'FINITE');
INSERT INTO optuna.trial_values VALUES (3, 3, 0, 9, 'FINITE');
INSERT INTO optuna.trials VALUES (1, 0, 1, 'COMPLETE', '2026-11-27 17:49:46.707347', '2026-11-27 17:49:46.743039');
INSERT INTO optuna.trials VALUES (2, 1, 1, 'COMPLETE', '2026-11-27 17:49:46.757717', '2026-11-27 17:49:46.775579');
INSERT INTO optuna.trials VALUES (3, 2, 1, 'PRUNED', '2026-11-27 17:49:46.78315', '2026-11-27 17:49:46.797513');
INSERT INTO optuna.trials VALUES (4, 3, 1, 'RUNNING', '2026-11-27 17:49:46.80927', NULL);
INSERT INTO optuna.trials VALUES (5, 4, 1, 'RUNNING', '2026-11-27 17:49:46.823661', NULL);
INSERT INTO optuna.trials VALUES (6, 5, 1, 'WAITING', NULL, NULL);
INSERT INTO optuna.version_info VALUES (1, 12, '5.0.0');
INSERT INTO smart_tuner.smart_tuner_alembic_version VALUES ('0004');
INSERT INTO smart_tuner.st_chat VALUES ('running:b9822ed709fe42daa1d93be5e99e4325', '0', 1795801786.701013);
INSERT INTO smart_tuner.st_checkpoint VALUES (1, 'b9822ed709fe42daa1d93be5e99e4325', 0, '94c9e4bb96fc4d409baf6c403c1a0d3d', '2026-11-27 17:49:46+00', 100, 'a/step', '0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO smart_tuner.st_checkpoint VALUES (2, 'b9822ed709fe42daa1d93be5e99e4325', 1, '2dcdf70c52704b3998c78bb3e2ea41ea', '2026-11-27 17:49:46+00', 100, 'a/step', '0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO smart_tuner.st_checkpoint VALUES (3, 'b9822ed709fe42daa1d93be5e99e4325', 2, 'ca0147b2c16d46dcae7db50569d41da5', '2026-11-27 17:49:46+00', 100, 'a/step', '0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO smart_tuner.st_checkpoint VALUES (4, 'b9822ed709fe42daa1d93be5e99e4325', 3, 'b207cbd2129b4821bc38ace5bddb2308', '2026-11-27 17:49:46+00', 100, 'a/step', '0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO smart_tuner.st_checkpoint VALUES (5, 'b9822ed709fe42daa1d93be5e99e4325', 4, '717949cc52f549e69a955c483d3bf664', '2026-11-27 17:49:46+00', 100, 'a/step', '0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO smart_tuner.st_lease VALUES (1, 'b9822ed709fe42daa1d93be5e99e4325', 0, 'done', '94c9e4bb96fc4d409baf6c403c1a0d3d', 1, 0, '{"host": "another", "boot": "b", "pids": "pid:[1]", "pid": 1, "started": "1"}', 0, 1795801876.7229805, '{"state": "COMPLETE", "value": 3.5, "reason": ""}');
INSERT INTO smart_tuner.st_lease VALUES (2, 'b9822ed709fe42daa1d93be5e99e4325', 1, 'done', '2dcdf70c52704b3998c78bb3e2ea41ea', 1, 0, '{"host": "another", "boot": "b", "pids": "pid:[1]", "pid": 1, "started": "1"}', 0, 1795801876.7610006, '{"state": "COMPLETE", "value": 2.25, "reason": ""}');
INSERT INTO smart_tuner.st_lease VALUES (3, 'b9822ed709fe42daa1d93be5e99e4325', 2, 'done', 'ca0147b2c16d46dcae7db50569d41da5', 1, 0, '{"host": "another", "boot": "b", "pids": "pid:[1]", "pid": 1, "started": "1"}', 0, 1795801876.7859855, '{"state": "PRUNED", "value": null, "reason": "step 300: collapse: diagonal_score fell from 0.90 to 0.10; nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)"}');
INSERT INTO smart_tuner.st_lease VALUES (4, 'b9822ed709fe42daa1d93be5e99e4325', 3, 'released', 'b207cbd2129b4821bc38ace5bddb2308', 1, 0, '{"host": "another", "boot": "b", "pids": "pid:[1]", "pid": 1, "started": "1"}', 0, 0, NULL);
INSERT INTO smart_tuner.st_lease VALUES (5, 'b9822ed709fe42daa1d93be5e99e4325', 4, 'decided', '717949cc52f549e69a955c483d3bf664', 1, 0, '{"host": "another", "boot": "b", "pids": "pid:[1]", "pid": 1, "started": "1"}', 0, 1795801876.826983, '{"state": "FAIL", "value": null, "reason": "its worker died 4 times"}');
INSERT INTO smart_tuner.st_outbox VALUES (1, 'b9822ed709fe42daa1d93be5e99e4325', NULL, 'telegram-506843c', 'study_start::1795801786702', '2026-11-27 17:49:46+00', '{"kind": "study_start", "group": "", "name": "1795801786702", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": null, "language": "en", "quiet": null, "facts": {"study": "old", "trial": null, "done": 0, "budget": 8, "searched": ["learning_rate", "batch_size", "guided_attention_weight", "guided_attention_sigma", "gate_positive_weight", "p_attention_dropout"]}, "files": [], "answers": null, "key": "study_start::1795801786702"}', 0, 0, 'waiting', NULL);
INSERT INTO smart_tuner.st_outbox VALUES (2, 'b9822ed709fe42daa1d93be5e99e4325', 0, 'telegram-506843c', 'best:all:0', '2026-11-27 17:49:46+00', '{"kind": "best", "group": "all", "name": "0", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 0, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 0, "number": 0, "value": 3.5, "repairs": 0, "was": null, "at_step": 100, "sound": false}, "files": [], "answers": null, "key": "best:all:0"}', 0, 0, 'waiting', NULL);
INSERT INTO smart_tuner.st_outbox VALUES (3, 'b9822ed709fe42daa1d93be5e99e4325', 1, 'telegram-506843c', 'fix::1-1', '2026-11-27 17:49:46+00', '{"kind": "fix", "group": "", "name": "1-1", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 1, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 1, "entry": "repair", "reason": "diagonal score 0.05 is below 0.3; \u0434, \u8a9e, \ud83d\udc1f", "changes": {"guided_attention_weight": [0.0, 4.0]}, "rule": "poor_alignment", "action": "guide the attention harder", "ramp": 50, "step": 100, "verify_at": 200, "evidence": {"diagonal_score": 0.05, "norm": "nan"}, "before": {"diagonal_score": 0.05, "mel": 0.9}, "clips": ["a"], "after": {}, "back_to": 0, "priority": 8, "rung": 1, "verdict": null}, "files": [], "answers": null, "key": "fix::1-1"}', 0, 0, 'waiting', NULL);
INSERT INTO smart_tuner.st_outbox VALUES (4, 'b9822ed709fe42daa1d93be5e99e4325', 1, 'telegram-506843c', 'fix::1-2', '2026-11-27 17:49:46+00', '{"kind": "fix", "group": "", "name": "1-2", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 1, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 1, "entry": "alarm", "reason": "seen", "changes": {}, "rule": "gate_never", "action": "waits for collapse, which is nearer to the cause", "ramp": 0, "step": 110, "verify_at": null, "evidence": {}, "before": {}, "clips": [], "after": {}, "back_to": null, "priority": 6, "rung": null, "verdict": null}, "files": [], "answers": null, "key": "fix::1-2"}', 0, 0, 'waiting', NULL);
INSERT INTO smart_tuner.st_outbox VALUES (5, 'b9822ed709fe42daa1d93be5e99e4325', 1, 'telegram-506843c', 'fix::1-3', '2026-11-27 17:49:46+00', '{"kind": "fix", "group": "", "name": "1-3", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 1, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 1, "entry": "verdict", "reason": "diagonal score 0.05 is below 0.3; \u0434, \u8a9e, \ud83d\udc1f", "changes": {}, "rule": "poor_alignment", "action": "kept", "ramp": 0, "step": 200, "verify_at": null, "evidence": {}, "before": {"diagonal_score": 0.05, "mel": 0.9}, "clips": [], "after": {"diagonal_score": 0.9, "mel": 0.4}, "back_to": null, "priority": 8, "rung": null, "verdict": "improved"}, "files": [], "answers": null, "key": "fix::1-3"}', 0, 0, 'waiting', NULL);
INSERT INTO smart_tuner.st_outbox VALUES (6, 'b9822ed709fe42daa1d93be5e99e4325', 1, 'telegram-506843c', 'best:all:1', '2026-11-27 17:49:46+00', '{"kind": "best", "group": "all", "name": "1", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 1, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 1, "number": 1, "value": 2.25, "repairs": 0, "was": 3.5, "at_step": 100, "sound": false}, "files": [], "answers": null, "key": "best:all:1"}', 0, 0, 'waiting', NULL);
INSERT INTO smart_tuner.st_outbox VALUES (7, 'b9822ed709fe42daa1d93be5e99e4325', 2, 'telegram-506843c', 'fix::2-1', '2026-11-27 17:49:46+00', '{"kind": "fix", "group": "", "name": "2-1", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 2, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 2, "entry": "end", "reason": "diagonal_score fell from 0.90 to 0.10", "changes": {}, "rule": "collapse", "action": "nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)", "ramp": 0, "step": 300, "verify_at": null, "evidence": {"diagonal_score": 0.1, "best_diagonal_score": 0.9}, "before": {}, "clips": [], "after": {}, "back_to": null, "priority": 9, "rung": null, "verdict": null}, "files": [], "answers": null, "key": "fix::2-1"}', 0, 0, 'waiting', NULL);
INSERT INTO smart_tuner.st_outbox VALUES (8, 'b9822ed709fe42daa1d93be5e99e4325', 2, 'telegram-506843c', 'trial_bad:all:2', '2026-11-27 17:49:46+00', '{"kind": "trial_bad", "group": "all", "name": "2", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 2, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 2, "state": "PRUNED", "reason": "step 300: collapse: diagonal_score fell from 0.90 to 0.10; nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)", "value": 9.0, "median": 2.875, "rule": "collapse", "gave_up": "nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)"}, "files": [], "answers": null, "key": "trial_bad:all:2"}', 0, 0, 'waiting', NULL);
INSERT INTO smart_tuner.st_outbox VALUES (9, 'b9822ed709fe42daa1d93be5e99e4325', NULL, 'telegram-506843c', 'advice:collapse:2', '2026-11-27 17:49:46+00', '{"kind": "advice", "group": "collapse", "name": "2", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": null, "language": "en", "quiet": null, "facts": {"study": "old", "trial": null, "rule": "collapse", "ended": 1, "finished": 3, "reason": "diagonal_score fell from 0.90 to 0.10", "evidence": {"diagonal_score": 0.1, "best_diagonal_score": 0.9}, "tried": {"improved": 0, "no_effect": 0, "harm": 0}, "split": null, "helped": null, "clips": [], "batch": null, "skipped": null, "command": "run_study.py fixes old --explain"}, "files": [], "answers": null, "key": "advice:collapse:2"}', 0, 0, 'waiting', NULL);
INSERT INTO smart_tuner.st_outbox VALUES (10, 'b9822ed709fe42daa1d93be5e99e4325', 3, 'telegram-506843c', 'fix::3-1', '2026-11-27 17:49:46+00', '{"kind": "fix", "group": "", "name": "3-1", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 3, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 3, "entry": "repair", "reason": "diagonal score 0.05 is below 0.3; \u0434, \u8a9e, \ud83d\udc1f", "changes": {"guided_attention_weight": [0.0, 4.0]}, "rule": "poor_alignment", "action": "guide the attention harder", "ramp": 50, "step": 100, "verify_at": 200, "evidence": {"diagonal_score": 0.05, "norm": "nan"}, "before": {"diagonal_score": 0.05, "mel": 0.9}, "clips": ["a"], "after": {}, "back_to": 0, "priority": 8, "rung": 1, "verdict": null}, "files": [], "answers": null, "key": "fix::3-1"}', 0, 0, 'waiting', NULL);
INSERT INTO smart_tuner.st_rating VALUES (1, 'b9822ed709fe42daa1d93be5e99e4325', 1, 100, 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'Съешь же ещё', 'a listener', 4, false, '2026-11-27 17:49:46+00');
INSERT INTO smart_tuner.st_repair VALUES (1, 'b9822ed709fe42daa1d93be5e99e4325', 1, 1, '2026-11-27 17:49:46+00', 'policy', 'repair', 100, 'poor_alignment', 5, 8, 'diagonal score 0.05 is below 0.3; д, 語, 🐟', '{"diagonal_score": 0.05, "norm": "nan"}', '["gate_never"]', 'guide the attention harder', '{"guided_attention_weight": [0.0, 4.0]}', 50, 0, NULL, '["a"]', 1, 200, NULL, '{"diagonal_score": 0.05, "mel": 0.9}', '{}', NULL);
INSERT INTO smart_tuner.st_repair VALUES (2, 'b9822ed709fe42daa1d93be5e99e4325', 1, 2, '2026-11-27 17:49:46+00', 'policy', 'alarm', 110, 'gate_never', 6, 6, 'seen', '{}', '[]', 'waits for collapse, which is nearer to the cause', '{}', 0, NULL, NULL, '[]', NULL, NULL, NULL, '{}', '{}', NULL);
INSERT INTO smart_tuner.st_repair VALUES (3, 'b9822ed709fe42daa1d93be5e99e4325', 1, 3, '2026-11-27 17:49:46+00', 'policy', 'verdict', 200, 'poor_alignment', 5, 8, 'diagonal score 0.05 is below 0.3; д, 語, 🐟', '{}', '[]', 'kept', '{}', 0, NULL, NULL, '[]', NULL, NULL, 'improved', '{"diagonal_score": 0.05, "mel": 0.9}', '{"diagonal_score": 0.9, "mel": 0.4}', 1);
INSERT INTO smart_tuner.st_repair VALUES (4, 'b9822ed709fe42daa1d93be5e99e4325', 2, 1, '2026-11-27 17:49:46+00', 'policy', 'end', 300, 'collapse', 5, 9, 'diagonal_score fell from 0.90 to 0.10', '{"diagonal_score": 0.1, "best_diagonal_score": 0.9}', '[]', 'nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)', '{}', 0, NULL, NULL, '[]', NULL, NULL, NULL, '{}', '{}', NULL);
INSERT INTO smart_tuner.st_repair VALUES (5, 'b9822ed709fe42daa1d93be5e99e4325', 3, 1, '2026-11-27 17:49:46+00', 'policy', 'repair', 100, 'poor_alignment', 5, 8, 'diagonal score 0.05 is below 0.3; д, 語, 🐟', '{"diagonal_score": 0.05, "norm": "nan"}', '["gate_never"]', 'guide the attention harder', '{"guided_attention_weight": [0.0, 4.0]}', 50, 0, NULL, '["a"]', 1, 200, NULL, '{"diagonal_score": 0.05, "mel": 0.9}', '{}', NULL);
SELECT pg_catalog.setval('optuna.studies_study_id_seq', 1, true);
SELECT pg_catalog.setval('optuna.study_directions_study_direction_id_seq', 1, true);
SELECT pg_catalog.setval('optuna.study_system_attributes_study_system_attribute_id_seq', 1, false);
SELECT pg_catalog.setval('optuna.study_user_attributes_study_user_attribute_id_seq', 4, true);
SELECT pg_catalog.setval('optuna.trial_heartbeats_trial_heartbeat_id_seq', 1, false);
SELECT pg_catalog.setval('optuna.trial_intermediate_values_trial_intermediate_value_id_seq', 4, true);
SELECT pg_catalog.setval('optuna.trial_params_param_id_seq', 5, true);
SELECT pg_catalog.setval('optuna.trial_system_attributes_trial_system_attribute_id_seq', 1, true);
SELECT pg_catalog.setval('optuna.trial_user_attributes_trial_user_attribute_id_seq', 11, true);
SELECT pg_catalog.setval('optuna.trial_values_trial_value_id_seq', 3, true);
SELECT pg_catalog.setval('optuna.trials_trial_id_seq', 6, true);
SELECT pg_catalog.setval('smart_tuner.st_checkpoint_id_seq', 5, true);
SELECT pg_catalog.setval('smart_tuner.st_lease_id_seq', 5, true);
SELECT pg_catalog.setval('smart_tuner.st_outbox_id_seq', 10, true);
SELECT pg_catalog.setval('smart_tuner.st_rating_id_seq', 1, true);
SELECT pg_catalog.setval('smart_tuner.st_repair_id_seq', 5, true);
ALTER TABLE ONLY optuna.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY optuna.studies
    ADD CONSTRAINT studies_pkey PRIMARY KEY (study_id);
ALTER TABLE ONLY optuna.study_directions
    ADD CONSTRAINT study_directions_pkey PRIMARY KEY (study_direction_id);
ALTER TABLE ONLY optuna.study_directions
    ADD CONSTRAINT study_directions_study_id_objective_key UNIQUE (study_id, objective);
ALTER TABLE ONLY optuna.study_system_attributes
    ADD CONSTRAINT study_system_attributes_pkey PRIMARY KEY (study_system_attribute_id);
ALTER TABLE ONLY optuna.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY optuna.study_user_attributes
    ADD CONSTRAINT study_user_attributes_pkey PRIMARY KEY (study_user_attribute_id);
ALTER TABLE ONLY optuna.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY optuna.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_pkey PRIMARY KEY (trial_heartbeat_id);
ALTER TABLE ONLY optuna.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_key UNIQUE (trial_id);
ALTER TABLE ONLY optuna.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_pkey PRIMARY KEY (trial_intermediate_value_id);
ALTER TABLE ONLY optuna.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_step_key UNIQUE (trial_id, step);
ALTER TABLE ONLY optuna.trial_params
    ADD CONSTRAINT trial_params_pkey PRIMARY KEY (param_id);
ALTER TABLE ONLY optuna.trial_params
    ADD CONSTRAINT trial_params_trial_id_param_name_key UNIQUE (trial_id, param_name);
ALTER TABLE ONLY optuna.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_pkey PRIMARY KEY (trial_system_attribute_id);
ALTER TABLE ONLY optuna.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY optuna.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_pkey PRIMARY KEY (trial_user_attribute_id);
ALTER TABLE ONLY optuna.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY optuna.trial_values
    ADD CONSTRAINT trial_values_pkey PRIMARY KEY (trial_value_id);
ALTER TABLE ONLY optuna.trial_values
    ADD CONSTRAINT trial_values_trial_id_objective_key UNIQUE (trial_id, objective);
ALTER TABLE ONLY optuna.trials
    ADD CONSTRAINT trials_pkey PRIMARY KEY (trial_id);
ALTER TABLE ONLY optuna.version_info
    ADD CONSTRAINT version_info_pkey PRIMARY KEY (version_info_id);
ALTER TABLE ONLY smart_tuner.smart_tuner_alembic_version
    ADD CONSTRAINT smart_tuner_alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY smart_tuner.st_chat
    ADD CONSTRAINT st_chat_pkey PRIMARY KEY (name);
ALTER TABLE ONLY smart_tuner.st_checkpoint
    ADD CONSTRAINT st_checkpoint_pkey PRIMARY KEY (id);
ALTER TABLE ONLY smart_tuner.st_lease
    ADD CONSTRAINT st_lease_pkey PRIMARY KEY (id);
ALTER TABLE ONLY smart_tuner.st_lease
    ADD CONSTRAINT st_lease_study_uid_number_key UNIQUE (study_uid, number);
ALTER TABLE ONLY smart_tuner.st_outbox
    ADD CONSTRAINT st_outbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY smart_tuner.st_outbox
    ADD CONSTRAINT st_outbox_study_uid_channel_key_key UNIQUE (study_uid, channel, key);
ALTER TABLE ONLY smart_tuner.st_rating
    ADD CONSTRAINT st_rating_pkey PRIMARY KEY (id);
ALTER TABLE ONLY smart_tuner.st_rating
    ADD CONSTRAINT st_rating_sample_rater_key UNIQUE (sample, rater);
ALTER TABLE ONLY smart_tuner.st_repair
    ADD CONSTRAINT st_repair_pkey PRIMARY KEY (id);
ALTER TABLE ONLY smart_tuner.st_repair
    ADD CONSTRAINT st_repair_study_uid_trial_seq_key UNIQUE (study_uid, trial, seq);
CREATE UNIQUE INDEX ix_studies_study_name ON optuna.studies USING btree (study_name);
CREATE INDEX ix_trials_study_id ON optuna.trials USING btree (study_id);
CREATE INDEX st_checkpoint_by_trial ON smart_tuner.st_checkpoint USING btree (study_uid, trial);
CREATE INDEX st_lease_by_state ON smart_tuner.st_lease USING btree (study_uid, state);
CREATE INDEX st_outbox_by_state ON smart_tuner.st_outbox USING btree (channel, state, id);
CREATE INDEX st_rating_by_trial ON smart_tuner.st_rating USING btree (study_uid, trial);
ALTER TABLE ONLY optuna.study_directions
    ADD CONSTRAINT study_directions_study_id_fkey FOREIGN KEY (study_id) REFERENCES optuna.studies(study_id);
ALTER TABLE ONLY optuna.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES optuna.studies(study_id);
ALTER TABLE ONLY optuna.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES optuna.studies(study_id);
ALTER TABLE ONLY optuna.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES optuna.trials(trial_id);
ALTER TABLE ONLY optuna.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES optuna.trials(trial_id);
ALTER TABLE ONLY optuna.trial_params
    ADD CONSTRAINT trial_params_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES optuna.trials(trial_id);
ALTER TABLE ONLY optuna.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES optuna.trials(trial_id);
ALTER TABLE ONLY optuna.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES optuna.trials(trial_id);
ALTER TABLE ONLY optuna.trial_values
    ADD CONSTRAINT trial_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES optuna.trials(trial_id);
ALTER TABLE ONLY optuna.trials
    ADD CONSTRAINT trials_study_id_fkey FOREIGN KEY (study_id) REFERENCES optuna.studies(study_id);
