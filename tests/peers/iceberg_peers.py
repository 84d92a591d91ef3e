"""The other two readers and writers of the lake: PyIceberg and DuckDB, driven by tests/lake/peers.rs.

It only says what they saw; the test judges. Rows are spelt as tests/lake/rows.rs spells them.

    check CATALOG_DB TABLE OURS.jsonl   reads s.TABLE with both and compares with our rows; prints one JSON object
    make CATALOG_DB WAREHOUSE           PyIceberg writes its tables into namespace p; prints {table: [rows]}
    count CATALOG_DB TABLE PROPERTY...  how many rows PyIceberg reads from s.TABLE
    change CATALOG_DB NAME STEP...      add:COLUMN, rename:COLUMN:NAME, drop:COLUMN on NAME, one commit each; row:JSON
                                        appends a row
    race CATALOG_DB TABLE FROM TO       PyIceberg appends the numbers to s.TABLE, a commit each, however often others come first
    append CATALOG_DB TABLE             PyIceberg appends one row to p.TABLE and prints the time after its commit
    early CATALOG_DB WAREHOUSE          PyIceberg partitions moments around 1970 by year, month, day and hour, a table each
                                        in namespace p, named so; prints how many partitions each has
"""

import datetime
import decimal
import hashlib
import importlib.util
import json
import struct
import sys
import time
import uuid
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import (
    BucketTransform, DayTransform, HourTransform, IdentityTransform, MonthTransform, TruncateTransform, YearTransform,
)
from pyiceberg.types import (
    DateType, DecimalType, DoubleType, FloatType, IntegerType, ListType, LongType, NestedField, StringType, StructType,
    TimestampType, TimestamptzType,
)


def catalog(database, **properties):
    """Of an SQLite file, or of a database's address."""
    uri = database if "://" in database else f"sqlite:///{database}"
    return SqlCatalog("lakegate", uri=uri, **properties)


def short_float(value):
    """The shortest text that is the same 32-bit float."""
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        if struct.pack("f", float(text)) == struct.pack("f", value):
            return float(text)
    return value


def spell(value, of):
    if value is None:
        return None
    if pa.types.is_floating(of):
        if value != value:
            return "NaN"
        if value in (float("inf"), float("-inf")):
            return "Infinity" if value > 0 else "-Infinity"
        return short_float(value) if pa.types.is_float32(of) else value
    if pa.types.is_map(of):
        return {spell_key(k, of.key_type): spell(v, of.item_type) for k, v in value}
    if pa.types.is_struct(of):
        return {f.name: spell(value[f.name], f.type) for f in of}
    if pa.types.is_list(of) or pa.types.is_large_list(of):
        return [spell(v, of.value_type) for v in value]
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return f"{value:f}"
    if isinstance(value, datetime.datetime):
        text = value.replace(tzinfo=None).isoformat(timespec="microseconds")
        return text + "Z" if value.tzinfo else text
    if isinstance(value, datetime.time):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex().upper()
    return value


def race(database, name, first, end):
    """Appends one row after the other to s.NAME; whoever came first is waited out."""
    of = catalog(database)
    for value in range(int(first), int(end)):
        rows = pa.table({"x": pa.array([value], pa.int64())})
        while True:
            try:
                of.load_table(("s", name)).append(rows)
                break
            except CommitFailedException:
                time.sleep(0.01)
    print(json.dumps({"appended": int(end) - int(first)}))


def count(database, name, *properties):
    """Rows of s.NAME as PyIceberg counts them, over a store that the properties name."""
    table = catalog(database, **dict(p.split("=", 1) for p in properties)).load_table(("s", name))
    print(json.dumps({"rows": table.scan().to_arrow().num_rows}))


def spell_key(value, of):
    spelt = spell(value, of)
    return spelt if isinstance(spelt, str) else json.dumps(spelt)


def line(row):
    return json.dumps(row, sort_keys=True, ensure_ascii=False)


def lines(table, uuids=()):
    rows = []
    for row in table.to_pylist():
        spelt = {f.name: spell(row[f.name], f.type) for f in table.schema}
        for name in uuids:
            if isinstance(row[name], (bytes, str)):
                spelt[name] = str(uuid.UUID(bytes=row[name])) if isinstance(row[name], bytes) else row[name]
        rows.append(line(spelt))
    return sorted(rows)


def checksum(rows):
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def duck():
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for name, package in (("avro", "duckdb_extension_avro"), ("iceberg", "duckdb_extension_iceberg")):
        folder = Path(list(importlib.util.find_spec(package).submodule_search_locations)[0])
        file = sorted(folder.rglob(f"{name}.duckdb_extension"))[0]
        connection.execute(f"LOAD '{file}'")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def check(database, name, ours):
    table = catalog(database).load_table(("s", name))
    uuids = [f.name for f in table.schema().fields if str(f.field_type) == "uuid"]
    location = table.metadata_location.removeprefix("file://")
    seen = {"lakegate": sorted(line(json.loads(text)) for text in open(ours, encoding="utf-8").read().splitlines())}
    seen["pyiceberg"] = lines(table.scan().to_arrow(), uuids)
    seen["duckdb"] = lines(duck().execute(f"SELECT * FROM iceberg_scan('{location}')").to_arrow_table(), uuids)
    answer = {"rows": {who: len(rows) for who, rows in seen.items()}, "sum": {w: checksum(r) for w, r in seen.items()}}
    for who in ("pyiceberg", "duckdb"):
        differ = sorted(set(seen[who]) ^ set(seen["lakegate"]))
        answer[f"differs_{who}"] = differ[:4]
    # Bounds and counts must lead their planners right too.
    answer["planned"] = {
        "pyiceberg": table.scan(row_filter="id >= 10 and id < 12").to_arrow().num_rows,
        "duckdb": duck().execute(f"SELECT count(*) FROM iceberg_scan('{location}') WHERE id >= 10 AND id < 12").fetchone()[0],
    }
    print(json.dumps(answer))


def utc(day, hour=0):
    return datetime.datetime(2026, 1, day, hour, tzinfo=datetime.timezone.utc)


def rows_of(schema, rows):
    return pa.Table.from_pylist(rows, schema=schema.as_arrow())


def make(database, warehouse):
    into = catalog(database, warehouse=warehouse)
    into.create_namespace("p")
    makers = (appended, evolved, partitioned, overwritten, nested, added)
    into.warehouse = warehouse.removeprefix("file://")
    print(json.dumps({maker.__name__: maker(into) for maker in makers}))


def finish(table):
    table.refresh()
    return lines(table.scan().to_arrow())


def appended(into):
    schema = Schema(
        NestedField(1, "id", LongType(), required=True), NestedField(2, "name", StringType()),
        NestedField(3, "d", DoubleType()), NestedField(4, "n", DecimalType(12, 2)), NestedField(5, "at", TimestamptzType()),
    )
    table = into.create_table("p.appended", schema)
    for start in range(0, 30, 10):
        table.append(rows_of(table.schema(), [
            {"id": i, "name": None if i % 4 == 0 else f"name {i}", "d": float("nan") if i % 7 == 3 else i / 3,
             "n": decimal.Decimal(i * 7 - 50).scaleb(-2), "at": utc(1 + i % 20, i % 24)}
            for i in range(start, start + 10)
        ]))
    return finish(table)


def evolved(into):
    schema = Schema(
        NestedField(1, "id", IntegerType()), NestedField(2, "f", FloatType()), NestedField(3, "n", DecimalType(9, 2)),
        NestedField(4, "gone", StringType()), NestedField(5, "old", StringType()),
        NestedField(6, "st", StructType(NestedField(7, "a", IntegerType()), NestedField(8, "b", StringType()))),
    )
    table = into.create_table("p.evolved", schema)
    table.append(rows_of(table.schema(), [
        {"id": i, "f": i / 4, "n": decimal.Decimal(i), "gone": "x", "old": f"o{i}", "st": {"a": i, "b": f"b{i}"}}
        for i in range(5)
    ]))
    with table.update_schema() as update:
        update.update_column("id", LongType())
        update.update_column("f", DoubleType())
        update.update_column("n", DecimalType(18, 2))
        update.delete_column("gone")
        update.rename_column("old", "new")
        update.add_column(("st", "c"), LongType())
        update.rename_column(("st", "a"), "z")
        update.update_column(("st", "a"), LongType())
    with table.update_schema() as update:
        update.add_column("gone", LongType())
        update.add_column("old", LongType())
        update.move_first("new")
    table.append(rows_of(table.schema(), [
        {"id": 2**40 + i, "f": i / 3, "n": decimal.Decimal(10**12), "gone": i, "new": f"n{i}", "old": i * 2,
         "st": {"z": 2**40, "b": None, "c": i}}
        for i in range(5)
    ]))
    return finish(table)


def partitioned(into):
    schema = Schema(
        NestedField(1, "id", LongType()), NestedField(2, "region", StringType()), NestedField(3, "at", TimestampType()),
        NestedField(4, "name", StringType()), NestedField(5, "day", DateType()),
    )
    spec = PartitionSpec(
        PartitionField(2, 1000, IdentityTransform(), "region"), PartitionField(1, 1001, BucketTransform(4), "id_bucket"),
        PartitionField(3, 1002, DayTransform(), "at_day"), PartitionField(4, 1003, TruncateTransform(2), "name_trunc"),
    )
    table = into.create_table("p.partitioned", schema, partition_spec=spec)
    regions = ["EU", "US", None, "a/b c%41"]
    table.append(rows_of(table.schema(), [
        {"id": i, "region": regions[i % 4], "at": utc(1 + i % 3, i % 24).replace(tzinfo=None),
         "name": None if i % 5 == 0 else f"{chr(97 + i % 3)}é{i}", "day": datetime.date(1969, 12, 20) + datetime.timedelta(i)}
        for i in range(24)
    ]))
    with table.update_spec() as update:
        update.remove_field("region")
        update.add_field("day", IdentityTransform(), "day_id")
    table.append(rows_of(table.schema(), [
        {"id": 100 + i, "region": regions[i % 4], "at": None, "name": "later", "day": None if i == 3 else datetime.date(2026, 2, i + 1)}
        for i in range(4)
    ]))
    return finish(table)


def overwritten(into):
    schema = Schema(NestedField(1, "id", LongType()), NestedField(2, "v", StringType()))
    table = into.create_table("p.overwritten", schema)
    rows = lambda *ids: rows_of(table.schema(), [{"id": i, "v": f"v{i}"} for i in ids])
    table.append(rows(1, 2, 3, 4))
    table.append(rows(5, 6))
    table.overwrite(rows(20, 30), overwrite_filter="id >= 2 and id <= 3")
    table.delete("id = 6")
    return finish(table)


def nested(into):
    schema = Schema(
        NestedField(1, "id", LongType()),
        NestedField(2, "tags", ListType(3, StringType(), element_required=False)),
        NestedField(4, "items", ListType(5, StructType(NestedField(6, "sku", StringType()), NestedField(7, "qty", IntegerType())),
                                         element_required=False)),
    )
    table = into.create_table("p.nested", schema)
    table.append(rows_of(table.schema(), [
        {"id": 1, "tags": ["a", None], "items": [{"sku": "x", "qty": 1}, None]},
        {"id": 2, "tags": [], "items": []},
        {"id": 3, "tags": None, "items": None},
    ]))
    return finish(table)


def added(into):
    """Files of another writer, without field ids: the table has a name mapping."""
    schema = Schema(
        NestedField(1, "id", LongType()), NestedField(2, "v", StringType()),
        NestedField(3, "st", StructType(NestedField(4, "a", LongType()))),
    )
    table = into.create_table("p.added", schema)
    file = f"{into.warehouse}/added.parquet"
    names = [{"id": i, "v": f"v{i}", "st": {"a": i * 2}} for i in range(10)]
    pq.write_table(pa.Table.from_pylist(names), file)
    table.add_files([f"file://{file}"])
    with table.update_schema() as update:
        update.rename_column("v", "w")
    return finish(table)


def change(database, name, *steps):
    table = catalog(database).load_table(name)
    for step in steps:
        word, rest = step.split(":", 1)
        if word == "row":
            table.append(pa.Table.from_pylist([json.loads(rest)], schema=table.schema().as_arrow()))
            continue
        with table.update_schema(allow_incompatible_changes=True) as update:
            if word == "add":
                update.add_column(rest, StringType())
            elif word == "rename":
                update.rename_column(*rest.split(":"))
            else:
                update.delete_column(rest)
    print(json.dumps(table.schema().column_names))


def append(database, name):
    table = catalog(database).load_table(("p", name))
    table.append(rows_of(table.schema(), [{"id": 1000, "v": "new"}]))
    print(json.dumps({"committed": time.time()}))


def early(database, warehouse):
    into = catalog(database, warehouse=warehouse)
    into.create_namespace("p")
    schema = Schema(NestedField(1, "id", LongType()), NestedField(2, "at", TimestampType()))
    texts = (
        "1969-12-31T23:59:59.999999", "1969-12-31T23:59:59.500000", "1969-12-30T23:59:59.500000", "1969-12-30T23:59:58",
        "1970-01-01T00:00:00", "1969-11-30T23:59:59.000001", "1968-12-31T23:59:59.000001", "1969-12-31T22:59:59.000001",
    )
    made = {}
    for transform in (YearTransform(), MonthTransform(), DayTransform(), HourTransform()):
        spec = PartitionSpec(PartitionField(2, 1000, transform, "part"))
        table = into.create_table(f"p.{transform}", schema, partition_spec=spec)
        # One file a partition, so that each must be found by its own.
        for i, text in enumerate(texts):
            table.append(rows_of(table.schema(), [{"id": i, "at": datetime.datetime.fromisoformat(text)}]))
        made[str(transform)] = len({file.file.partition[0] for file in table.scan().plan_files()})
    print(json.dumps(made))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    commands = {"check": check, "make": make, "append": append, "change": change, "count": count, "early": early, "race": race}
    commands[command](*arguments)
