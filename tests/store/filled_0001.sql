-- The rows of a store as the first schema had them, written by the program of then.
INSERT INTO targets (id, body) VALUES
  ('c9143c93461558836b6b981c2f882202c7b29d0fba58e0c7d2d1f530891485f1','{"power":"on","template":{"name":"debian","chain":["debian","base"],"method":"netboot","image":{"kernel":{"url":"https://images.example/vmlinuz","sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"initrd":{"url":"https://images.example/vmlinuz","sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"rootfs":null,"disk":null},"kernel_args":["quiet","console=ttyS0"],"user_data":"#cloud-config\n# ünïcode\n","vendor_data":null,"wipe":"metadata","timeouts":{"soft_power_off":null,"power_off":null,"wipe":"1h1s","boot":"1m30s","install":null},"digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"},"digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"}');
INSERT INTO operations (id, node, busy_node, state, fence, created_at, target_id, body) VALUES
  ('o1','n1',NULL,'failed',1,'2026-11-20T08:00:00.123456Z','c9143c93461558836b6b981c2f882202c7b29d0fba58e0c7d2d1f530891485f1','{"id":"o1","node":"n1","verb":"deploy","state":"failed","holder":{"kind":"Pool","name":"ci","owner":"lab","since":"2026-11-18T08:00:00.123456Z"},"pool":"ci","priority":500,"stages":["power off","wipe","boot"],"commit":{"id":"cccccccccccccccccccccccccccccccccccccccc","author":"Ada <ada@lab.example>","subject":"Give ci a node","at":"2026-11-20T08:00:00.123456Z"},"source":{"path":"pools/ci.yaml","line":3,"field":"spec.resting.template"},"created_at":"2026-11-20T08:00:00.123456Z","destroys_data":false,"stage":"power off","effects":0,"intent":{"kind":"soft power off","argument":"","operation_id":"o1","template_digest":""},"intent_at":"2026-11-20T08:00:01.123456Z","acknowledged_at":null,"stage_deadline_at":"2026-11-20T08:05:01.123456Z","attempt":1,"not_before":null,"fence":1,"last_error":"the node does not boot","ended_at":"2026-11-20T08:00:09.123456Z","tries":0,"failing":false,"seen_at":null,"corrects":false}');
INSERT INTO operations (id, node, busy_node, state, fence, created_at, target_id, body) VALUES
  ('o2','n2','n2','running',1,'2026-11-20T08:00:00.123456Z','c9143c93461558836b6b981c2f882202c7b29d0fba58e0c7d2d1f530891485f1','{"id":"o2","node":"n2","verb":"deploy","state":"running","holder":{"kind":"Pool","name":"ci","owner":"lab","since":"2026-11-18T08:00:00.123456Z"},"pool":"ci","priority":500,"stages":["power off","wipe","boot"],"commit":{"id":"cccccccccccccccccccccccccccccccccccccccc","author":"Ada <ada@lab.example>","subject":"Give ci a node","at":"2026-11-20T08:00:00.123456Z"},"source":{"path":"pools/ci.yaml","line":3,"field":"spec.resting.template"},"created_at":"2026-11-20T08:00:00.123456Z","destroys_data":false,"stage":"power off","effects":1,"intent":{"kind":"soft power off","argument":"","operation_id":"o2","template_digest":""},"intent_at":"2026-11-20T08:00:01.123456Z","acknowledged_at":"2026-11-20T08:00:02.123456Z","stage_deadline_at":"2026-11-20T08:05:01.123456Z","attempt":1,"not_before":null,"fence":1,"last_error":"","ended_at":null,"tries":0,"failing":false,"seen_at":null,"corrects":false}');
INSERT INTO operations (id, node, busy_node, state, fence, created_at, target_id, body) VALUES
  ('o3','n3','n3','pending',0,'2026-11-20T08:00:00.123456Z','c9143c93461558836b6b981c2f882202c7b29d0fba58e0c7d2d1f530891485f1','{"id":"o3","node":"n3","verb":"deploy","state":"pending","holder":{"kind":"Pool","name":"ci","owner":"lab","since":"2026-11-18T08:00:00.123456Z"},"pool":"ci","priority":500,"stages":["power off","wipe","boot"],"commit":{"id":"cccccccccccccccccccccccccccccccccccccccc","author":"Ada <ada@lab.example>","subject":"Give ci a node","at":"2026-11-20T08:00:00.123456Z"},"source":{"path":"pools/ci.yaml","line":3,"field":"spec.resting.template"},"created_at":"2026-11-20T08:00:00.123456Z","destroys_data":false,"stage":null,"effects":0,"intent":null,"intent_at":null,"acknowledged_at":null,"stage_deadline_at":null,"attempt":0,"not_before":null,"fence":0,"last_error":"","ended_at":null,"tries":0,"failing":false,"seen_at":null,"corrects":false}');
INSERT INTO nodes (node, adopted_at, adopted_by, applied, target_id, in_doubt, failed_id, generation) VALUES
  ('n1','2026-11-20T08:00:00.123456Z','ada','{"holder":{"kind":"Pool","name":"ci","owner":"lab","since":"2026-11-18T08:00:00.123456Z"},"revision":"cccccccccccccccccccccccccccccccccccccccc","source":{"path":"pools/ci.yaml","line":3,"field":"spec.resting.template"},"at":"2026-11-20T08:00:00.123456Z","corrections":0}','c9143c93461558836b6b981c2f882202c7b29d0fba58e0c7d2d1f530891485f1',1,'o1',6);
INSERT INTO nodes (node, adopted_at, adopted_by, applied, target_id, in_doubt, failed_id, generation) VALUES
  ('n2','2026-11-20T08:00:00.123456Z','ada','{"holder":{"kind":"Pool","name":"ci","owner":"lab","since":"2026-11-18T08:00:00.123456Z"},"revision":"cccccccccccccccccccccccccccccccccccccccc","source":{"path":"pools/ci.yaml","line":3,"field":"spec.resting.template"},"at":"2026-11-20T08:00:00.123456Z","corrections":0}','c9143c93461558836b6b981c2f882202c7b29d0fba58e0c7d2d1f530891485f1',1,NULL,7);
INSERT INTO nodes (node, adopted_at, adopted_by, applied, target_id, in_doubt, failed_id, generation) VALUES
  ('n3','2026-11-20T08:00:00.123456Z','ada','{"holder":{"kind":"Pool","name":"ci","owner":"lab","since":"2026-11-18T08:00:00.123456Z"},"revision":"cccccccccccccccccccccccccccccccccccccccc","source":{"path":"pools/ci.yaml","line":3,"field":"spec.resting.template"},"at":"2026-11-20T08:00:00.123456Z","corrections":0}','c9143c93461558836b6b981c2f882202c7b29d0fba58e0c7d2d1f530891485f1',0,NULL,3);
INSERT INTO nodes (node, adopted_at, adopted_by, applied, target_id, in_doubt, failed_id, generation) VALUES
  ('n4','2026-11-20T08:00:00.123456Z','ada',NULL,NULL,0,NULL,2);
INSERT INTO slots (scope, slot_no, operation_id, granted_at) VALUES
  ('fleet',1,'o2','2026-11-20T08:00:01.123456Z');
INSERT INTO slots (scope, slot_no, operation_id, granted_at) VALUES
  ('label/rack=a01',1,'o2','2026-11-20T08:00:01.123456Z');
INSERT INTO journal (seq, at, node, event, operation_id, stage, effect, fence, detail) VALUES
  (1,'2026-11-20T08:00:00.123456Z','n1','adopted',NULL,NULL,NULL,0,'as it is, by ada');
INSERT INTO journal (seq, at, node, event, operation_id, stage, effect, fence, detail) VALUES
  (2,'2026-11-20T08:00:00.123456Z','n2','adopted',NULL,NULL,NULL,0,'as it is, by ada');
INSERT INTO journal (seq, at, node, event, operation_id, stage, effect, fence, detail) VALUES
  (3,'2026-11-20T08:00:00.123456Z','n3','adopted',NULL,NULL,NULL,0,'as it is, by ada');
INSERT INTO journal (seq, at, node, event, operation_id, stage, effect, fence, detail) VALUES
  (4,'2026-11-20T08:00:00.123456Z','n4','adopted',NULL,NULL,NULL,0,'to be rebuilt, by ada');
INSERT INTO journal (seq, at, node, event, operation_id, stage, effect, fence, detail) VALUES
  (5,'2026-11-20T08:00:00.123456Z','n1','created','o1',NULL,NULL,0,'deploy for pool/ci');
INSERT INTO journal (seq, at, node, event, operation_id, stage, effect, fence, detail) VALUES
  (6,'2026-11-20T08:00:00.123456Z','n2','created','o2',NULL,NULL,0,'deploy for pool/ci');
INSERT INTO journal (seq, at, node, event, operation_id, stage, effect, fence, detail) VALUES
  (7,'2026-11-20T08:00:00.123456Z','n3','created','o3',NULL,NULL,0,'deploy for pool/ci');
INSERT INTO journal (seq, at, node, event, operation_id, stage, effect, fence, detail) VALUES
  (8,'2026-11-20T08:00:01.123456Z','n1','admitted','o1','power off','{"kind":"soft power off","argument":"","operation_id":"o1","template_digest":""}',1,'fleet#0, label/rack=a01#0');
INSERT INTO journal (seq, at, node, event, operation_id, stage, effect, fence, detail) VALUES
  (9,'2026-11-20T08:00:01.123456Z','n2','admitted','o2','power off','{"kind":"soft power off","argument":"","operation_id":"o2","template_digest":""}',1,'fleet#1, label/rack=a01#1');
INSERT INTO journal (seq, at, node, event, operation_id, stage, effect, fence, detail) VALUES
  (10,'2026-11-20T08:00:09.123456Z','n1','failed','o1','power off','{"kind":"soft power off","argument":"","operation_id":"o1","template_digest":""}',1,'');
INSERT INTO journal (seq, at, node, event, operation_id, stage, effect, fence, detail) VALUES
  (11,'2026-11-20T08:00:02.123456Z','n2','outcome','o2','power off','{"kind":"soft power off","argument":"","operation_id":"o2","template_digest":""}',1,'done');
INSERT INTO observations (node, at, body) VALUES
  ('n1','2026-11-20T08:00:00.123456Z','{"node":"n1","at":"2026-11-20T08:00:00.123456Z","reading":null,"error":null,"failures":0,"next_attempt_at":null}');
INSERT INTO facts (key, at, body) VALUES
  ('cycle','2026-11-20T08:00:00.123456Z','{}');
UPDATE meta SET generation = 7, journal_seq = 11, applied_revision = 'cccccccccccccccccccccccccccccccccccccccc';
