-- What psql asks of both: prepared statements, a transaction, several statements in one message, errors with their codes.
\set ON_ERROR_STOP off
\set VERBOSITY sqlstate
PREPARE one (int8) AS SELECT id, name, amount, day, at, flag, ratio FROM drivers.numbers WHERE id = $1;
EXECUTE one (7);
EXECUTE one (1000000);
EXECUTE one (NULL);
EXECUTE nobody (1);
DEALLOCATE one;
EXECUTE one (7);
BEGIN;
SELECT count(*), sum(amount), min(day), max(at) FROM drivers.numbers WHERE id <= 1000;
SELECT nonsense FROM drivers.numbers;
SELECT 'not any more';
ROLLBACK;
SELECT 'goes on'\; SELECT 'in one message';
SELECT note, count(*) FROM drivers.numbers GROUP BY note ORDER BY note;
INSERT INTO drivers.written SELECT id, note, amount, day, at, flag FROM drivers.numbers WHERE id < 4;
TABLE drivers.written ORDER BY id;
\x on
SELECT * FROM drivers.numbers WHERE id = 12345;
\x off
SELECT id FROM drivers.numbers WHERE id < 0;
SELECT 1 / (id - 1) FROM drivers.numbers WHERE id = 1;
SELECT * FROM drivers.nothing;
SELECT array_agg(id ORDER BY id DESC) FROM drivers.numbers WHERE id < 5;
SHOW server_version_num;
CREATE TEMP TABLE copied (id int8, note text, amount numeric(12,2));
\copy copied (id) FROM PROGRAM 'seq 1 3'
\copy copied (id, amount) FROM PROGRAM 'echo 4,2.345' CSV
\copy copied (id) FROM PROGRAM 'echo 4,5' CSV
\copy copied (id) FROM PROGRAM 'echo x'
\copy (SELECT * FROM copied ORDER BY id) TO STDOUT CSV HEADER
COPY copied (amount, id) TO STDOUT WITH (FORMAT csv, NULL 'none', FORCE_QUOTE (id));
COPY (SELECT 1 / 0) TO STDOUT;
COPY nothing FROM STDIN;
COPY copied TO STDOUT WITH (FORMAT nonsense);
SELECT count(*), sum(amount) FROM copied;
