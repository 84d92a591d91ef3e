"""The peers that live in Python, one process each: DuckDB over Parquet files, PyIceberg with its SQL catalog, and the
least that any commit must do. Reads one JSON object a line, answers with one; times are its own, without the pipe."""
import json
import os
import sqlite3
import sys
import time

STATE = {}


def versions(_):
    import duckdb
    import pyiceberg

    return {"duckdb": duckdb.__version__, "pyiceberg": pyiceberg.__version__}


def duckdb_open(ask):
    import duckdb

    con = duckdb.connect()
    con.execute(f"SET threads = {ask['threads']}")
    con.execute("SET TimeZone = 'UTC'")
    for name, files in ask["tables"].items():
        listed = ", ".join("'" + f.replace("'", "''") + "'" for f in files)
        con.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{listed}])")
    STATE["duckdb"] = con
    return {}


def duckdb_query(ask):
    rows = STATE["duckdb"].execute(ask["sql"]).fetchall()
    return {"rows": [[None if v is None else str(v) for v in row] for row in rows]}


def iceberg_open(ask):
    from decimal import Decimal

    import pyarrow as pa
    from pyiceberg.catalog.sql import SqlCatalog

    os.makedirs(ask["dir"], exist_ok=True)
    catalog = SqlCatalog("bench", uri=f"sqlite:///{ask['dir']}/catalog.db", warehouse=f"file://{ask['dir']}/warehouse")
    catalog.create_namespace("bench")
    n = ask["rows"]
    STATE["rows"] = pa.table(
        {
            "id": pa.array(range(n), pa.int64()),
            "at": pa.array([1_700_000_000_000_000 + i * 1_000 for i in range(n)], pa.timestamp("us", "UTC")),
            "kind": pa.array([("view", "click", "buy")[i % 3] for i in range(n)], pa.string()),
            "amount": pa.array([Decimal(i % 10_000) / 100 for i in range(n)], pa.decimal128(12, 2)),
        }
    )
    catalog.create_table("bench.appended", schema=STATE["rows"].schema)
    STATE["table"] = catalog.load_table("bench.appended")
    return {}


def iceberg_append(_):
    STATE["table"].append(STATE["rows"])
    return {}


def iceberg_count(_):
    table = STATE["table"].refresh()
    return {"rows": table.scan().count(), "snapshots": len(table.metadata.snapshots)}


def floor_open(ask):
    os.makedirs(ask["dir"], exist_ok=True)
    con = sqlite3.connect(f"{ask['dir']}/floor.db", isolation_level=None)
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("PRAGMA synchronous = FULL")
    con.execute("CREATE TABLE pointer (name TEXT PRIMARY KEY, location TEXT)")
    con.execute("INSERT INTO pointer VALUES ('t', '0')")
    STATE.update(floor=con, floor_dir=ask["dir"], floor_at=0)
    return {}


def floor_commit(ask):
    """Files of the given sizes, then one compare-and-swap."""
    at = STATE["floor_at"]
    for i, size in enumerate(ask["files"]):
        with open(f"{STATE['floor_dir']}/{at}-{i}", "wb") as out:
            out.write(b"\0" * size)
    swap = "UPDATE pointer SET location = ? WHERE name = 't' AND location = ?"
    assert STATE["floor"].execute(swap, (str(at + 1), str(at))).rowcount == 1
    STATE["floor_at"] = at + 1
    return {}


for line in sys.stdin:
    ask = json.loads(line)
    cpu, begin = time.process_time(), time.perf_counter()
    answer = globals()[ask["do"]](ask)
    answer.update(seconds=time.perf_counter() - begin, cpu=time.process_time() - cpu)
    print(json.dumps(answer), flush=True)
