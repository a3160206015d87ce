BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE smart_tuner_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT smart_tuner_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "smart_tuner_alembic_version" VALUES('0004');
CREATE TABLE st_chat (
	name VARCHAR(200) NOT NULL, 
	value JSON NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "st_chat" VALUES('running:b9822ed709fe42daa1d93be5e99e4325',0,1.79580178670101308822e+09);
CREATE TABLE st_checkpoint (
	id INTEGER NOT NULL, 
	study_uid VARCHAR(32) NOT NULL, 
	trial INTEGER NOT NULL, 
	attempt_uid VARCHAR(32) NOT NULL, 
	at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	step INTEGER NOT NULL, 
	place TEXT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "st_checkpoint" VALUES(1,'b9822ed709fe42daa1d93be5e99e4325',0,'94c9e4bb96fc4d409baf6c403c1a0d3d','2026-11-27 17:49:46',100,'a/step','0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO "st_checkpoint" VALUES(2,'b9822ed709fe42daa1d93be5e99e4325',1,'2dcdf70c52704b3998c78bb3e2ea41ea','2026-11-27 17:49:46',100,'a/step','0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO "st_checkpoint" VALUES(3,'b9822ed709fe42daa1d93be5e99e4325',2,'ca0147b2c16d46dcae7db50569d41da5','2026-11-27 17:49:46',100,'a/step','0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO "st_checkpoint" VALUES(4,'b9822ed709fe42daa1d93be5e99e4325',3,'b207cbd2129b4821bc38ace5bddb2308','2026-11-27 17:49:46',100,'a/step','0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO "st_checkpoint" VALUES(5,'b9822ed709fe42daa1d93be5e99e4325',4,'717949cc52f549e69a955c483d3bf664','2026-11-27 17:49:46',100,'a/step','0000000000000000000000000000000000000000000000000000000000000000');
CREATE TABLE st_lease (
	id INTEGER NOT NULL, 
	study_uid VARCHAR(32) NOT NULL, 
	number INTEGER, 
	state VARCHAR(16) NOT NULL, 
	attempt_uid VARCHAR(32) NOT NULL, 
	attempt_no INTEGER NOT NULL, 
	deaths INTEGER NOT NULL, 
	owner JSON NOT NULL, 
	beat INTEGER NOT NULL, 
	expires_at FLOAT NOT NULL, 
	outcome JSON, 
	PRIMARY KEY (id), 
	UNIQUE (study_uid, number)
);
INSERT INTO "st_lease" VALUES(1,'b9822ed709fe42daa1d93be5e99e4325',0,'done','94c9e4bb96fc4d409baf6c403c1a0d3d',1,0,'{"host": "another", "boot": "b", "pids": "pid:[1]", "pid": 1, "started": "1"}',0,1.79580187672298049929e+09,'{"state": "COMPLETE", "value": 3.5, "reason": ""}');
INSERT INTO "st_lease" VALUES(2,'b9822ed709fe42daa1d93be5e99e4325',1,'done','2dcdf70c52704b3998c78bb3e2ea41ea',1,0,'{"host": "another", "boot": "b", "pids": "pid:[1]", "pid": 1, "started": "1"}',0,1.79580187676100063321e+09,'{"state": "COMPLETE", "value": 2.25, "reason": ""}');
INSERT INTO "st_lease" VALUES(3,'b9822ed709fe42daa1d93be5e99e4325',2,'done','ca0147b2c16d46dcae7db50569d41da5',1,0,'{"host": "another", "boot": "b", "pids": "pid:[1]", "pid": 1, "started": "1"}',0,1.79580187678598546981e+09,'{"state": "PRUNED", "value": null, "reason": "step 300: collapse: diagonal_score fell from 0.90 to 0.10; nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)"}');
INSERT INTO "st_lease" VALUES(4,'b9822ed709fe42daa1d93be5e99e4325',3,'released','b207cbd2129b4821bc38ace5bddb2308',1,0,'{"host": "another", "boot": "b", "pids": "pid:[1]", "pid": 1, "started": "1"}',0,0.0,NULL);
INSERT INTO "st_lease" VALUES(5,'b9822ed709fe42daa1d93be5e99e4325',4,'decided','717949cc52f549e69a955c483d3bf664',1,0,'{"host": "another", "boot": "b", "pids": "pid:[1]", "pid": 1, "started": "1"}',0,1.79580187682698297498e+09,'{"state": "FAIL", "value": null, "reason": "its worker died 4 times"}');
CREATE TABLE st_outbox (
	id INTEGER NOT NULL, 
	study_uid VARCHAR(32) NOT NULL, 
	trial INTEGER, 
	channel VARCHAR(16) NOT NULL, 
	"key" VARCHAR(200) NOT NULL, 
	at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	payload JSON NOT NULL, 
	tries INTEGER NOT NULL, 
	due_at FLOAT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	error TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (study_uid, channel, "key")
);
INSERT INTO "st_outbox" VALUES(1,'b9822ed709fe42daa1d93be5e99e4325',NULL,'telegram-506843c','study_start::1795801786702','2026-11-27 17:49:46','{"kind": "study_start", "group": "", "name": "1795801786702", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": null, "language": "en", "quiet": null, "facts": {"study": "old", "trial": null, "done": 0, "budget": 8, "searched": ["learning_rate", "batch_size", "guided_attention_weight", "guided_attention_sigma", "gate_positive_weight", "p_attention_dropout"]}, "files": [], "answers": null, "key": "study_start::1795801786702"}',0,0.0,'waiting',NULL);
INSERT INTO "st_outbox" VALUES(2,'b9822ed709fe42daa1d93be5e99e4325',0,'telegram-506843c','best:all:0','2026-11-27 17:49:46','{"kind": "best", "group": "all", "name": "0", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 0, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 0, "number": 0, "value": 3.5, "repairs": 0, "was": null, "at_step": 100, "sound": false}, "files": [], "answers": null, "key": "best:all:0"}',0,0.0,'waiting',NULL);
INSERT INTO "st_outbox" VALUES(3,'b9822ed709fe42daa1d93be5e99e4325',1,'telegram-506843c','fix::1-1','2026-11-27 17:49:46','{"kind": "fix", "group": "", "name": "1-1", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 1, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 1, "entry": "repair", "reason": "diagonal score 0.05 is below 0.3; \u0434, \u8a9e, \ud83d\udc1f", "changes": {"guided_attention_weight": [0.0, 4.0]}, "rule": "poor_alignment", "action": "guide the attention harder", "ramp": 50, "step": 100, "verify_at": 200, "evidence": {"diagonal_score": 0.05, "norm": "nan"}, "before": {"diagonal_score": 0.05, "mel": 0.9}, "clips": ["a"], "after": {}, "back_to": 0, "priority": 8, "rung": 1, "verdict": null}, "files": [], "answers": null, "key": "fix::1-1"}',0,0.0,'waiting',NULL);
INSERT INTO "st_outbox" VALUES(4,'b9822ed709fe42daa1d93be5e99e4325',1,'telegram-506843c','fix::1-2','2026-11-27 17:49:46','{"kind": "fix", "group": "", "name": "1-2", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 1, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 1, "entry": "alarm", "reason": "seen", "changes": {}, "rule": "gate_never", "action": "waits for collapse, which is nearer to the cause", "ramp": 0, "step": 110, "verify_at": null, "evidence": {}, "before": {}, "clips": [], "after": {}, "back_to": null, "priority": 6, "rung": null, "verdict": null}, "files": [], "answers": null, "key": "fix::1-2"}',0,0.0,'waiting',NULL);
INSERT INTO "st_outbox" VALUES(5,'b9822ed709fe42daa1d93be5e99e4325',1,'telegram-506843c','fix::1-3','2026-11-27 17:49:46','{"kind": "fix", "group": "", "name": "1-3", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 1, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 1, "entry": "verdict", "reason": "diagonal score 0.05 is below 0.3; \u0434, \u8a9e, \ud83d\udc1f", "changes": {}, "rule": "poor_alignment", "action": "kept", "ramp": 0, "step": 200, "verify_at": null, "evidence": {}, "before": {"diagonal_score": 0.05, "mel": 0.9}, "clips": [], "after": {"diagonal_score": 0.9, "mel": 0.4}, "back_to": null, "priority": 8, "rung": null, "verdict": "improved"}, "files": [], "answers": null, "key": "fix::1-3"}',0,0.0,'waiting',NULL);
INSERT INTO "st_outbox" VALUES(6,'b9822ed709fe42daa1d93be5e99e4325',1,'telegram-506843c','best:all:1','2026-11-27 17:49:46','{"kind": "best", "group": "all", "name": "1", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 1, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 1, "number": 1, "value": 2.25, "repairs": 0, "was": 3.5, "at_step": 100, "sound": false}, "files": [], "answers": null, "key": "best:all:1"}',0,0.0,'waiting',NULL);
INSERT INTO "st_outbox" VALUES(7,'b9822ed709fe42daa1d93be5e99e4325',2,'telegram-506843c','fix::2-1','2026-11-27 17:49:46','{"kind": "fix", "group": "", "name": "2-1", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 2, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 2, "entry": "end", "reason": "diagonal_score fell from 0.90 to 0.10", "changes": {}, "rule": "collapse", "action": "nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)", "ramp": 0, "step": 300, "verify_at": null, "evidence": {"diagonal_score": 0.1, "best_diagonal_score": 0.9}, "before": {}, "clips": [], "after": {}, "back_to": null, "priority": 9, "rung": null, "verdict": null}, "files": [], "answers": null, "key": "fix::2-1"}',0,0.0,'waiting',NULL);
INSERT INTO "st_outbox" VALUES(8,'b9822ed709fe42daa1d93be5e99e4325',2,'telegram-506843c','trial_bad:all:2','2026-11-27 17:49:46','{"kind": "trial_bad", "group": "all", "name": "2", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 2, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 2, "state": "PRUNED", "reason": "step 300: collapse: diagonal_score fell from 0.90 to 0.10; nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)", "value": 9.0, "median": 2.875, "rule": "collapse", "gave_up": "nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)"}, "files": [], "answers": null, "key": "trial_bad:all:2"}',0,0.0,'waiting',NULL);
INSERT INTO "st_outbox" VALUES(9,'b9822ed709fe42daa1d93be5e99e4325',NULL,'telegram-506843c','advice:collapse:2','2026-11-27 17:49:46','{"kind": "advice", "group": "collapse", "name": "2", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": null, "language": "en", "quiet": null, "facts": {"study": "old", "trial": null, "rule": "collapse", "ended": 1, "finished": 3, "reason": "diagonal_score fell from 0.90 to 0.10", "evidence": {"diagonal_score": 0.1, "best_diagonal_score": 0.9}, "tried": {"improved": 0, "no_effect": 0, "harm": 0}, "split": null, "helped": null, "clips": [], "batch": null, "skipped": null, "command": "run_study.py fixes old --explain"}, "files": [], "answers": null, "key": "advice:collapse:2"}',0,0.0,'waiting',NULL);
INSERT INTO "st_outbox" VALUES(10,'b9822ed709fe42daa1d93be5e99e4325',3,'telegram-506843c','fix::3-1','2026-11-27 17:49:46','{"kind": "fix", "group": "", "name": "3-1", "study_uid": "b9822ed709fe42daa1d93be5e99e4325", "trial": 3, "language": "en", "quiet": null, "facts": {"study": "old", "trial": 3, "entry": "repair", "reason": "diagonal score 0.05 is below 0.3; \u0434, \u8a9e, \ud83d\udc1f", "changes": {"guided_attention_weight": [0.0, 4.0]}, "rule": "poor_alignment", "action": "guide the attention harder", "ramp": 50, "step": 100, "verify_at": 200, "evidence": {"diagonal_score": 0.05, "norm": "nan"}, "before": {"diagonal_score": 0.05, "mel": 0.9}, "clips": ["a"], "after": {}, "back_to": 0, "priority": 8, "rung": 1, "verdict": null}, "files": [], "answers": null, "key": "fix::3-1"}',0,0.0,'waiting',NULL);
CREATE TABLE st_rating (
	id INTEGER NOT NULL, 
	study_uid VARCHAR(32) NOT NULL, 
	trial INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	sample VARCHAR(64) NOT NULL, 
	text TEXT NOT NULL, 
	rater VARCHAR(32) NOT NULL, 
	score INTEGER NOT NULL, 
	blind BOOLEAN NOT NULL, 
	at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (sample, rater)
);
INSERT INTO "st_rating" VALUES(1,'b9822ed709fe42daa1d93be5e99e4325',1,100,'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','Съешь же ещё','a listener',4,0,'2026-11-27 17:49:46');
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
INSERT INTO "st_repair" VALUES(1,'b9822ed709fe42daa1d93be5e99e4325',1,1,'2026-11-27 17:49:46','policy','repair',100,'poor_alignment',5,8,'diagonal score 0.05 is below 0.3; д, 語, 🐟','{"diagonal_score": 0.05, "norm": "nan"}','["gate_never"]','guide the attention harder','{"guided_attention_weight": [0.0, 4.0]}',50,0,NULL,'["a"]',1,200,NULL,'{"diagonal_score": 0.05, "mel": 0.9}','{}',NULL);
INSERT INTO "st_repair" VALUES(2,'b9822ed709fe42daa1d93be5e99e4325',1,2,'2026-11-27 17:49:46','policy','alarm',110,'gate_never',6,6,'seen','{}','[]','waits for collapse, which is nearer to the cause','{}',0,NULL,NULL,'[]',NULL,NULL,NULL,'{}','{}',NULL);
INSERT INTO "st_repair" VALUES(3,'b9822ed709fe42daa1d93be5e99e4325',1,3,'2026-11-27 17:49:46','policy','verdict',200,'poor_alignment',5,8,'diagonal score 0.05 is below 0.3; д, 語, 🐟','{}','[]','kept','{}',0,NULL,NULL,'[]',NULL,NULL,'improved','{"diagonal_score": 0.05, "mel": 0.9}','{"diagonal_score": 0.9, "mel": 0.4}',1);
INSERT INTO "st_repair" VALUES(4,'b9822ed709fe42daa1d93be5e99e4325',2,1,'2026-11-27 17:49:46','policy','end',300,'collapse',5,9,'diagonal_score fell from 0.90 to 0.10','{"diagonal_score": 0.1, "best_diagonal_score": 0.9}','[]','nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)','{}',0,NULL,NULL,'[]',NULL,NULL,NULL,'{}','{}',NULL);
INSERT INTO "st_repair" VALUES(5,'b9822ed709fe42daa1d93be5e99e4325',3,1,'2026-11-27 17:49:46','policy','repair',100,'poor_alignment',5,8,'diagonal score 0.05 is below 0.3; д, 語, 🐟','{"diagonal_score": 0.05, "norm": "nan"}','["gate_never"]','guide the attention harder','{"guided_attention_weight": [0.0, 4.0]}',50,0,NULL,'["a"]',1,200,NULL,'{"diagonal_score": 0.05, "mel": 0.9}','{}',NULL);
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
INSERT INTO "study_user_attributes" VALUES(1,1,'policy','"1b934808c758b018dfd48e329b9868b9b47ea1ee4cf0b4bbaa19ec7c2b5d6d1e"');
INSERT INTO "study_user_attributes" VALUES(2,1,'uid','"b9822ed709fe42daa1d93be5e99e4325"');
INSERT INTO "study_user_attributes" VALUES(3,1,'spec','"{\"name\":\"old\",\"question\":\"Which learning rate, guidance and gate weight make a small voice speak soonest?\",\"seed\":1,\"corpus\":{\"language\":\"en\",\"resample_from\":null,\"min_seconds\":0.4,\"max_seconds\":12.0,\"trim_db\":40.0,\"held_out\":16,\"max_bad_percent\":5.0,\"source\":\"espeak\",\"clips\":720,\"voice\":\"\",\"seed\":0},\"model\":{\"size\":\"small\",\"warm_start\":null},\"settings\":{\"n_frames_per_step\":4},\"space\":{\"learning_rate\":{\"when\":{},\"type\":\"float\",\"low\":0.001,\"high\":0.008,\"log\":true,\"step\":null},\"batch_size\":{\"when\":{},\"type\":\"categorical\",\"choices\":[8,16]},\"guided_attention_weight\":{\"when\":{},\"type\":\"float\",\"low\":0.0,\"high\":4.0,\"log\":false,\"step\":0.5},\"guided_attention_sigma\":{\"when\":{\"guided_attention_weight\":{\"one_of\":[],\"above\":0.0,\"below\":null}},\"type\":\"float\",\"low\":0.1,\"high\":0.4,\"log\":false,\"step\":null},\"gate_positive_weight\":{\"when\":{},\"type\":\"float\",\"low\":1.0,\"high\":20.0,\"log\":true,\"step\":null},\"p_attention_dropout\":{\"when\":{},\"type\":\"float\",\"low\":0.0,\"high\":0.3,\"log\":false,\"step\":null}},\"sampler\":{\"name\":\"tpe\",\"n_startup_trials\":4},\"pruner\":{\"name\":\"asha\",\"min_resource\":100,\"reduction_factor\":3},\"rules\":{\"mode\":\"on\",\"credit\":\"policy\",\"fresh_share\":0.2,\"thresholds\":{}},\"budget\":{\"trials\":8,\"hours\":null,\"consumed_steps\":null,\"failures\":5,\"retries\":3},\"notify\":{\"language\":\"en\",\"quiet\":\"none\",\"digest_minutes\":0},\"objective\":{\"steps\":400,\"measure_every\":100,\"validate_every\":null,\"sentences\":8,\"draws\":2,\"checkpoint_every\":100,\"speak\":\"Soon the brave mouse dances by the sea.\"}}"');
INSERT INTO "study_user_attributes" VALUES(4,1,'yardstick','{"cap": 9.0, "ceiling": 1.5}');
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
INSERT INTO "trial_intermediate_values" VALUES(1,1,100,3.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,2,50,NULL,'INF_POS');
INSERT INTO "trial_intermediate_values" VALUES(3,2,100,2.25,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,3,100,9.0,'FINITE');
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
INSERT INTO "trial_params" VALUES(1,1,'learning_rate',4.01852978128728255055e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.004, "log": true}}');
INSERT INTO "trial_params" VALUES(2,2,'learning_rate',8.12125972858419279028e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.004, "log": true}}');
INSERT INTO "trial_params" VALUES(3,3,'learning_rate',2.8586556947802254161e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.004, "log": true}}');
INSERT INTO "trial_params" VALUES(4,4,'learning_rate',1.47006234407923304895e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.004, "log": true}}');
INSERT INTO "trial_params" VALUES(5,5,'learning_rate',6.92841958216969451035e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.004, "log": true}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,6,'fixed_params','{"learning_rate": 0.002}');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'settings','{"batch_size": 8, "learning_rate": 0.001}');
INSERT INTO "trial_user_attributes" VALUES(2,1,'measures','[{"step": 100, "value": 3.5, "seconds": 3.5, "aligned_share": 3.5, "failure_share": 3.5, "shortest": 3.5, "longest": 3.5}]');
INSERT INTO "trial_user_attributes" VALUES(3,2,'settings','{"batch_size": 8, "learning_rate": 0.001}');
INSERT INTO "trial_user_attributes" VALUES(4,2,'measures','[{"step": 100, "value": 2.25, "seconds": 2.25, "aligned_share": 2.25, "failure_share": 2.25, "shortest": 2.25, "longest": 2.25}]');
INSERT INTO "trial_user_attributes" VALUES(5,3,'settings','{"batch_size": 8, "learning_rate": 0.001}');
INSERT INTO "trial_user_attributes" VALUES(6,3,'ended_by','{"rule": "collapse"}');
INSERT INTO "trial_user_attributes" VALUES(7,3,'measures','[{"step": 100, "value": 9.0, "seconds": 9.0, "aligned_share": 9.0, "failure_share": 9.0, "shortest": 9.0, "longest": 9.0}]');
INSERT INTO "trial_user_attributes" VALUES(8,3,'reason','"step 300: collapse: diagonal_score fell from 0.90 to 0.10; nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)"');
INSERT INTO "trial_user_attributes" VALUES(9,4,'settings','{"batch_size": 8, "learning_rate": 0.001}');
INSERT INTO "trial_user_attributes" VALUES(10,5,'settings','{"batch_size": 8, "learning_rate": 0.001}');
INSERT INTO "trial_user_attributes" VALUES(11,6,'fresh_of','1');
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
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-27 17:49:46.707347','2026-11-27 17:49:46.743039');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-27 17:49:46.757717','2026-11-27 17:49:46.775579');
INSERT INTO "trials" VALUES(3,2,1,'PRUNED','2026-11-27 17:49:46.783150','2026-11-27 17:49:46.797513');
INSERT INTO "trials" VALUES(4,3,1,'RUNNING','2026-11-27 17:49:46.809270',NULL);
INSERT INTO "trials" VALUES(5,4,1,'RUNNING','2026-11-27 17:49:46.823661',NULL);
INSERT INTO "trials" VALUES(6,5,1,'WAITING',NULL,NULL);
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
CREATE INDEX st_lease_by_state ON st_lease (study_uid, state);
CREATE INDEX st_checkpoint_by_trial ON st_checkpoint (study_uid, trial);
CREATE INDEX st_outbox_by_state ON st_outbox (channel, state, id);
CREATE INDEX st_rating_by_trial ON st_rating (study_uid, trial);
COMMIT;
