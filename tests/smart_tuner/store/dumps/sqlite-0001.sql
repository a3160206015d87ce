BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE st_repair (
	id INTEGER NOT NULL, 
	study_uid VARCHAR(32) NOT NULL, 
	trial INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	policy VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	step INTEGER NOT NULL, 
	rule VARCHAR(64) NOT NULL, 
	level INTEGER NOT NULL, 
	priority INTEGER NOT NULL, 
	reason TEXT NOT NULL, 
	evidence JSON NOT NULL, 
	suppressed JSON NOT NULL, 
	action TEXT NOT NULL, 
	changes JSON NOT NULL, 
	ramp INTEGER NOT NULL, 
	back_to INTEGER, 
	fresh VARCHAR(64), 
	clips JSON NOT NULL, 
	rung INTEGER, 
	verify_at INTEGER, 
	verdict VARCHAR(16), 
	"before" JSON NOT NULL, 
	"after" JSON NOT NULL, 
	parent INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (study_uid, trial, seq)
);
INSERT INTO "st_repair" VALUES(1,'0123456789abcdef',1,1,'2026-11-24 23:56:36','policy','repair',100,'poor_alignment',5,8,'diagonal score 0.05 is below 0.3; д, 語, 🐟','{"diagonal_score": 0.05, "norm": "nan"}','[]','guide the attention','{"guided_attention_weight": [0.0, 1.0]}',0,NULL,NULL,'["a"]',NULL,200,NULL,'{}','{}',NULL);
INSERT INTO "st_repair" VALUES(2,'0123456789abcdef',1,2,'2026-11-24 23:56:36','policy','verdict',200,'poor_alignment',5,8,'','{}','[]','','{}',0,NULL,NULL,'[]',NULL,NULL,'improved','{}','{}',1);
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'old');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MINIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'uid','"0123456789abcdef"');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,100,4.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,200,NULL,'INF_POS');
INSERT INTO "trial_intermediate_values" VALUES(3,2,100,3.25,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,2,200,NULL,'INF_POS');
INSERT INTO "trial_intermediate_values" VALUES(5,3,100,9.0,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,4,100,4.0,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'rate',0.00915683934640852,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.01, "log": true}}');
INSERT INTO "trial_params" VALUES(2,1,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "sgd"]}}');
INSERT INTO "trial_params" VALUES(3,2,'rate',1.20340674143098945686e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.01, "log": true}}');
INSERT INTO "trial_params" VALUES(4,2,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "sgd"]}}');
INSERT INTO "trial_params" VALUES(5,3,'rate',5.45114581509158072428e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.01, "log": true}}');
INSERT INTO "trial_params" VALUES(6,3,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "sgd"]}}');
INSERT INTO "trial_params" VALUES(7,4,'rate',2.61316872620817120323e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.01, "log": true}}');
INSERT INTO "trial_params" VALUES(8,4,'optimizer',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "sgd"]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,5,'fixed_params','{"rate": 0.002}');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'settings','{"batch_size": 8, "name": "\u0434"}');
INSERT INTO "trial_user_attributes" VALUES(2,2,'settings','{"batch_size": 8, "name": "\u0434"}');
INSERT INTO "trial_user_attributes" VALUES(3,3,'settings','{"batch_size": 8, "name": "\u0434"}');
INSERT INTO "trial_user_attributes" VALUES(4,4,'settings','{"batch_size": 8, "name": "\u0434"}');
INSERT INTO "trial_user_attributes" VALUES(5,5,'fresh_of','1');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,3.5,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,2.25,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,9.0,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-24 23:56:36.035977','2026-11-24 23:56:36.395752');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-24 23:56:36.468371','2026-11-24 23:56:36.632261');
INSERT INTO "trials" VALUES(3,2,1,'PRUNED','2026-11-24 23:56:36.742896','2026-11-24 23:56:36.874231');
INSERT INTO "trials" VALUES(4,3,1,'RUNNING','2026-11-24 23:56:36.950747',NULL);
INSERT INTO "trials" VALUES(5,4,1,'WAITING',NULL,NULL);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
