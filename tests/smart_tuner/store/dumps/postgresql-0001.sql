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
ALTER TABLE ONLY smart_tuner.st_repair ALTER COLUMN id SET DEFAULT nextval('smart_tuner.st_repair_id_seq'::regclass);
INSERT INTO optuna.alembic_version VALUES ('v3.2.0.a');
INSERT INTO optuna.studies VALUES (1, 'old');
INSERT INTO optuna.study_directions VALUES (1, 'MINIMIZE', 1, 0);
INSERT INTO optuna.study_user_attributes VALUES (1, 1, 'uid', '"0123456789abcdef"');
INSERT INTO optuna.trial_intermediate_values VALUES (1, 1, 100, 4.5, 'FINITE');
INSERT INTO optuna.trial_intermediate_values VALUES (2, 1, 200, NULL, 'INF_POS');
INSERT INTO optuna.trial_intermediate_values VALUES (3, 2, 100, 3.25, 'FINITE');
INSERT INTO optuna.trial_intermediate_values VALUES (4, 2, 200, NULL, 'INF_POS');
INSERT INTO optuna.trial_intermediate_values VALUES (5, 3, 100, 9, 'FINITE');
INSERT INTO optuna.trial_intermediate_values VALUES (6, 4, 100, 4, 'FINITE');
INSERT INTO optuna.trial_params VALUES (1, 1, 'rate', 0.00915683934640852, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.01, "log": true}}');
INSERT INTO optuna.trial_params VALUES (2, 1, 'optimizer', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "sgd"]}}');
INSERT INTO optuna.trial_params VALUES (3, 2, 'rate', 0.00012034067414309895, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.01, "log": true}}');
INSERT INTO optuna.trial_params VALUES (4, 2, 'optimizer', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "sgd"]}}');
INSERT INTO optuna.trial_params VALUES (5, 3, 'rate', 0.0005451145815091581, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.01, "log": true}}');
INSERT INTO optuna.trial_params VALUES (6, 3, 'optimizer', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "sgd"]}}');
INSERT INTO optuna.trial_params VALUES (7, 4, 'rate', 0.0002613168726208171, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.01, "log": true}}');
INSERT INTO optuna.trial_params VALUES (8, 4, 'optimizer', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "sgd"]}}');
INSERT INTO optuna.trial_system_attributes VALUES (1, 5, 'fixed_params', '{"rate": 0.002}');
INSERT INTO optuna.trial_user_attributes VALUES (1, 1, 'settings', '{"batch_size": 8, "name": "\u0434"}');
INSERT INTO optuna.trial_user_attributes VALUES (2, 2, 'settings', '{"batch_size": 8, "name": "\u0434"}');
INSERT INTO optuna.trial_user_attributes VALUES (3, 3, 'settings', '{"batch_size": 8, "name": "\u0434"}');
INSERT INTO optuna.trial_user_attributes VALUES (4, 4, 'settings', '{"batch_size": 8, "name": "\u0434"}');
INSERT INTO optuna.trial_user_attributes VALUES (5, 5, 'fresh_of', '1');
INSERT INTO optuna.trial_values VALUES (1, 1, 0, 3.5, 'FINITE');
INSERT INTO optuna.trial_values VALUES (2, 2, 0, 2.25, 'FINITE');
INSERT INTO optuna.trial_values VALUES (3, 3, 0, 9, 'FINITE');
INSERT INTO optuna.trials VALUES (1, 0, 1, 'COMPLETE', '2026-11-24 23:56:36.035977', '2026-11-24 23:56:36.395752');
INSERT INTO optuna.trials VALUES (2, 1, 1, 'COMPLETE', '2026-11-24 23:56:36.468371', '2026-11-24 23:56:36.632261');
INSERT INTO optuna.trials VALUES (3, 2, 1, 'PRUNED', '2026-11-24 23:56:36.742896', '2026-11-24 23:56:36.874231');
INSERT INTO optuna.trials VALUES (4, 3, 1, 'RUNNING', '2026-11-24 23:56:36.950747', NULL);
INSERT INTO optuna.trials VALUES (5, 4, 1, 'WAITING', NULL, NULL);
INSERT INTO optuna.version_info VALUES (1, 12, '5.0.0');
INSERT INTO smart_tuner.st_repair VALUES (1, '0123456789abcdef', 1, 1, '2026-11-24 23:56:36+00', 'policy', 'repair', 100, 'poor_alignment', 5, 8, 'diagonal score 0.05 is below 0.3; д, 語, 🐟', '{"diagonal_score": 0.05, "norm": "nan"}', '[]', 'guide the attention', '{"guided_attention_weight": [0.0, 1.0]}', 0, NULL, NULL, '["a"]', NULL, 200, NULL, '{}', '{}', NULL);
INSERT INTO smart_tuner.st_repair VALUES (2, '0123456789abcdef', 1, 2, '2026-11-24 23:56:36+00', 'policy', 'verdict', 200, 'poor_alignment', 5, 8, '', '{}', '[]', '', '{}', 0, NULL, NULL, '[]', NULL, NULL, 'improved', '{}', '{}', 1);
SELECT pg_catalog.setval('optuna.studies_study_id_seq', 1, true);
SELECT pg_catalog.setval('optuna.study_directions_study_direction_id_seq', 1, true);
SELECT pg_catalog.setval('optuna.study_system_attributes_study_system_attribute_id_seq', 1, false);
SELECT pg_catalog.setval('optuna.study_user_attributes_study_user_attribute_id_seq', 1, true);
SELECT pg_catalog.setval('optuna.trial_heartbeats_trial_heartbeat_id_seq', 1, false);
SELECT pg_catalog.setval('optuna.trial_intermediate_values_trial_intermediate_value_id_seq', 6, true);
SELECT pg_catalog.setval('optuna.trial_params_param_id_seq', 8, true);
SELECT pg_catalog.setval('optuna.trial_system_attributes_trial_system_attribute_id_seq', 1, true);
SELECT pg_catalog.setval('optuna.trial_user_attributes_trial_user_attribute_id_seq', 5, true);
SELECT pg_catalog.setval('optuna.trial_values_trial_value_id_seq', 3, true);
SELECT pg_catalog.setval('optuna.trials_trial_id_seq', 5, true);
SELECT pg_catalog.setval('smart_tuner.st_repair_id_seq', 2, true);
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
ALTER TABLE ONLY smart_tuner.st_repair
    ADD CONSTRAINT st_repair_pkey PRIMARY KEY (id);
ALTER TABLE ONLY smart_tuner.st_repair
    ADD CONSTRAINT st_repair_study_uid_trial_seq_key UNIQUE (study_uid, trial, seq);
CREATE UNIQUE INDEX ix_studies_study_name ON optuna.studies USING btree (study_name);
CREATE INDEX ix_trials_study_id ON optuna.trials USING btree (study_id);
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
