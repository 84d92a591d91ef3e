"""psycopg 3 as one of the clients of tests/drivers.rs: does what it is told and prints what it gets. The connection is
libpq's environment; the test judges.

    ask QUESTIONS        prepared statements with parameters, transactions, pipelines, a cancel, COPY, temporary tables, channels
    read text|binary     every row of drivers.numbers, folded
"""

import datetime
import decimal
import sys
import threading
import time

import psycopg

EPOCH = datetime.date(2000, 1, 1)
NATIVE = {
    "int4": int,
    "int8": int,
    "text": str,
    "numeric": decimal.Decimal,
    "date": datetime.date.fromisoformat,
    "timestamptz": lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00")),
    "bool": "true".__eq__,
    "float8": float,
}


def native(parameter):
    of, value = parameter.split(" ", 1)
    if value == "∅":
        return None
    if of.endswith("[]"):
        return [native(f"{of[:-2]} {v}") for v in value.split("¦")] if value != "ε" else []
    return NATIVE[of](value.replace("ε", ""))


def questions(path):
    for line in open(path, encoding="utf-8").read().splitlines():
        if line.startswith(" "):
            yield sql, [native(p) for p in line.strip().split(" ; ")]
        elif line and not line.startswith("#"):
            sql = line


def told(error):
    return f"{error.sqlstate} {error.diag.message_primary}"


def answer(connection, sql, values, binary):
    try:
        cursor = psycopg.RawCursor(connection).execute(sql, values, prepare=True, binary=binary)
    except psycopg.Error as error:
        return told(error)
    if cursor.description is None:
        return cursor.statusmessage
    return f"{[(c.name, c.type_code) for c in cursor.description]} {cursor.fetchall()}"


def ask(connection, path):
    for sql, values in questions(path):
        for binary in (False, True):
            print(sql, values, "binary" if binary else "text", answer(connection, sql, values, binary), sep="\n  ")


def transactions(connection):
    connection.autocommit = False
    with connection.cursor() as cursor:
        print("in a transaction", cursor.execute("SELECT %s::int8", [1]).fetchall())
        for sql in ("SELECT id / 0 FROM drivers.numbers", "SELECT 1"):
            try:
                cursor.execute(sql)
            except psycopg.Error as error:
                print("then", told(error), connection.info.transaction_status.name)
        connection.rollback()
        print("after it", connection.info.transaction_status.name, cursor.execute("SELECT 'x'").fetchall())
    connection.commit()
    connection.autocommit = True


COPIED = [(1, "tab\there", decimal.Decimal("1.50"), EPOCH, None, True), (2, "quote\"d,\nand \\", None, None, None, None)]


def copies(connection):
    """In each format there and back, and what goes wrong on the way."""
    columns = "drivers.written (id, note, amount, day, at, flag)"
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {columns} FROM STDIN") as copy:
            for row in COPIED:
                copy.write_row(row)
        print("copied in", cursor.statusmessage)
        with cursor.copy(f"COPY {columns} FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8", "text", "numeric", "date", "timestamptz", "bool"])
            for row in COPIED:
                copy.write_row(row)
        print("copied in binary", cursor.statusmessage)
        with cursor.copy(f"COPY {columns} FROM STDIN (FORMAT csv, HEADER match)") as copy:
            copy.write("id,note,amount,day,at,flag\n3,\"a,\"\"b\",12.345,2020-01-02,2024-01-01 00:00+00,f\n")
        print("copied in csv", cursor.statusmessage)
        rows = "SELECT * FROM drivers.written ORDER BY id, note"
        for options in ("", "(FORMAT csv, HEADER, FORCE_QUOTE *)", "(DELIMITER '|', NULL '-')", "(FORMAT binary)"):
            with cursor.copy(f"COPY ({rows}) TO STDOUT {options}") as copy:
                print("copied out", options, b"".join(bytes(block) for block in copy))
            print(cursor.statusmessage)
        for sql, text in (
            (f"COPY {columns} FROM STDIN", "x\ty\n"),
            (f"COPY {columns} FROM STDIN CSV", "1,2\n"),
            (f"COPY {columns} FROM STDIN", "1\t\\N\t99999999999\t\\N\t\\N\t\\N\n"),
            ("COPY drivers.nothing FROM STDIN", ""),
            ("COPY drivers.numbers TO STDOUT (FORMAT xml)", None),
        ):
            try:
                with cursor.copy(sql) as copy:
                    if text is not None:
                        copy.write(text)
            except psycopg.Error as error:
                print(sql, told(error), error.diag.context)
        print("goes on", cursor.execute("SELECT count(*) FROM drivers.written").fetchone())


def temporary(connection):
    with connection.cursor() as cursor:
        for sql in (
            "CREATE TEMP TABLE scratch (id int8 NOT NULL, note text)",
            "INSERT INTO scratch SELECT id, name FROM drivers.numbers WHERE id < 4",
            "BEGIN",
            "CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT 1 AS one",
            "INSERT INTO scratch VALUES (9, 'nine')",
            "SELECT count(*), (SELECT one FROM gone) FROM scratch",
            "ROLLBACK",
            "SELECT id, note FROM pg_temp.scratch ORDER BY id",
            "SELECT relpersistence, relnamespace = pg_my_temp_schema() FROM pg_class WHERE relname = 'scratch'",
            "CREATE TEMP TABLE scratch (id int8)",
            "TRUNCATE scratch",
            "SELECT count(*) FROM scratch",
            "DROP TABLE scratch",
            "SELECT * FROM scratch",
        ):
            try:
                cursor.execute(sql)
                print(sql, cursor.statusmessage, cursor.fetchall() if cursor.description else "")
            except psycopg.Error as error:
                print(sql, told(error))


def channels(connection):
    with psycopg.connect(autocommit=True) as other:
        other.execute("LISTEN news")
        connection.execute("SELECT pg_notify('news', 'one')")
        connection.execute("NOTIFY news, 'two'")
        heard = [(n.channel, n.payload) for n in other.notifies(timeout=20, stop_after=2)]
        print("heard", heard)


def pipelines(connection):
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int8 * 2::int8", [n]) for n in range(50)]
    print("pipelined", [c.fetchone()[0] for c in cursors])
    try:
        with connection.pipeline():
            good = connection.execute("SELECT 'before'")
            connection.execute("SELECT id / %s FROM drivers.numbers", [0])
            connection.execute("SELECT 'never'")
    except psycopg.Error as error:
        print("a pipeline ends with", told(error), good.fetchone())
    print("and then", connection.execute("SELECT 'goes on'").fetchone())


def cancel(connection):
    """From another thread, over TLS as the connection is, until the statement has ended."""
    ended, failed = threading.Event(), []

    def asks():
        while not ended.wait(0.05):
            try:
                connection.cancel_safe(timeout=20)
            except psycopg.Error as error:
                failed.append(error)

    asking = threading.Thread(target=asks)
    asking.start()
    try:
        connection.execute("SELECT count(x % 7) FROM generate_series(1, 1000000000000) AS series(x)")
    except psycopg.Error as error:
        print("cancelled", error.sqlstate)
    ended.set()
    asking.join()
    print("the requests ended", failed or "cleanly", connection.execute("SELECT 'goes on'").fetchone())


def read(connection, binary):
    begin = time.monotonic()
    rows, ids, smalls, amounts, letters, notes, days, seconds, flags, ratios = 0, 0, 0, decimal.Decimal(0), 0, 0, 0, 0, 0, 0.0
    with connection.cursor(binary=binary) as cursor:
        sql = "SELECT id, small, amount, name, note, day, at, flag, ratio FROM drivers.numbers"
        for number, small, amount, name, note, day, at, flag, ratio in cursor.stream(sql):
            rows += 1
            ids += number
            smalls += small
            amounts += amount
            letters += len(name)
            notes += note is not None
            days += (day - EPOCH).days
            seconds += int(at.timestamp())
            flags += flag
            ratios += ratio
    took = time.monotonic() - begin
    print("folded", rows, ids, smalls, amounts, letters, notes, days, seconds, flags, int(ratios))
    print(f"seconds {took:.2f}")


def main(verb, argument):
    with psycopg.connect(autocommit=True) as connection:
        assert connection.pgconn.ssl_in_use, "no TLS"
        if verb == "ask":
            ask(connection, argument)
            transactions(connection)
            pipelines(connection)
            cancel(connection)
            copies(connection)
            temporary(connection)
            channels(connection)
        else:
            read(connection, argument == "binary")


main(*sys.argv[1:])
