//! Typing mistakes and what is said about each: the specification of the loader.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::policy::fixture::{Dice, EXAMPLE, USERS, compile, id, lines, policies, session};
use crate::policy::scram::{check_verifier, scram_verifier};
use crate::policy::{Action, Decision};

/// Lines `error|warning line:column: text` for a policy.csv over the fixture's tables and users.
fn verdict(csv: &str) -> String {
    let (word, list) = match compile(csv) {
        Ok((_, warnings)) => ("warning", warnings),
        Err(faults) => ("error", faults),
    };
    let file = |f: &str| if f == "policy.csv" { String::new() } else { format!("{f}:") };
    list.iter().map(|f| format!("{word} {}{}:{}: {}\n", file(&f.file), f.line, f.column, f.text)).collect()
}

#[test]
fn the_example_of_the_manual_has_no_fault() {
    assert_eq!(verdict(EXAMPLE), "");
}

#[test]
fn each_typing_mistake_gets_its_verdict() {
    for (number, csv, expected) in MISTAKES {
        assert_eq!(verdict(csv).trim_end(), *expected, "mistake {number}: {csv}");
    }
}

/// The number in the table of typing mistakes that policies are checked against, the file, what is said.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "1",
        "p, alice, sales.orders, select, Deny\n",
        "error 1:33: effect `Deny` is not `allow` or `deny`; did you mean `deny`?",
    ),
    ("1", "p, alice, sales.orders, select, denied\n", "error 1:33: effect `denied` is not `allow` or `deny`"),
    ("1", "p, alice, sales.orders, select, forbid\n", "error 1:33: effect `forbid` is not `allow` or `deny`"),
    (
        "2",
        "P, alice, sales.orders, select, allow\n",
        "error 1:1: line kind `P` is not one of p, p2, p3, g, g2; did you mean `p`?",
    ),
    (
        "2",
        "policy, alice, sales.orders, select, allow\n",
        "error 1:1: line kind `policy` is not one of p, p2, p3, g, g2",
    ),
    (
        "2",
        "p4, alice, sales.orders, select, allow\n",
        "error 1:1: line kind `p4` is not one of p, p2, p3, g, g2; did you mean `p2`?",
    ),
    ("3", "\u{feff}p, alice, sales.orders, select, deny\n", ""),
    (
        "4",
        "p, alice, sales.orders, select, deny # payroll\n",
        "error 1:38: a comment takes a whole line; move this one to a line above",
    ),
    ("4", "g, alice, analyst # new\n", "error 1:19: a comment takes a whole line; move this one to a line above"),
    (
        "5",
        "p, alice, sales.orders, select\n",
        "error 1:31: expected `p, subject, object, action, effect`; missing: effect",
    ),
    (
        "5",
        "p, alice, sales.orders\n",
        "error 1:23: expected `p, subject, object, action, effect`; missing: action, effect",
    ),
    ("5", "g, alice\n", "error 1:9: expected `g, member, role`; missing: role"),
    ("5", "p\n", "error 1:2: expected `p, subject, object, action, effect`; missing: subject, object, action, effect"),
    (
        "6",
        "p, alice, sales.orders, select, allow,\n",
        "error 1:38: a comma too many; expected `p, subject, object, action, effect`",
    ),
    ("6", "g, alice, analyst, \n", "error 1:18: a comma too many; expected `g, member, role`"),
    ("7", "p2, alice, sales.orders, \"region = 'EU'\n", "error 1:26: this quote is not closed on its line"),
    (
        "7",
        "p2, alice, sales.orders, \"region = 'EU'\np, alice, sales.orders, select, \"allow\"\n",
        "error 1:26: this quote is not closed on its line",
    ),
    (
        "8",
        "p, alice, sales.orders, select, allow\np3, alice, sales.orders, buyer, \"custom(\"\"coalesce(nickname, 'n/a')\"\")\"\n",
        "",
    ),
    (
        "9",
        "p2, alice, sales.orders, region IN ('EU','US')\n",
        "error 1:26: a condition that contains commas is written in double quotes",
    ),
    (
        "9",
        "p3, alice, sales.orders, card_no, partial(2, '***', 4)\n",
        "error 1:35: a mask that contains commas is written in double quotes",
    ),
    (
        "10",
        "p, alice, sales.*.public, select, allow\n",
        "error 1:18: a third segment; a table is `schema.table` without the database, a column `schema.table/column`",
    ),
    (
        "10",
        "p, alice, lakegate.sales.orders, select, allow\n",
        "error 1:25: a third segment; a table is `schema.table` without the database, a column `schema.table/column`",
    ),
    ("11", "p, alice, größe.*, select, allow\n", "warning 1:11: there is no schema `größe`"),
    ("11", "p, alice, gro\u{308}ße.orders, select, allow\n", "error 1:11: there is no schema `größe`"),
    ("12", "p, alice, sales.[, select, allow\n", "error 1:17: `[` in a name; only a name in double quotes may hold it"),
    (
        "13",
        "p, alice, sales.a*, select, allow\n",
        "error 1:18: `*` stands for one whole segment, not for a part of one",
    ),
    (
        "13",
        "p, alice, sales.*s, select, allow\n",
        "error 1:17: `*` stands for one whole segment, not for a part of one",
    ),
    (
        "13",
        "p, alice, sales.orders/*_note, select, deny\n",
        "error 1:24: `*` stands for one whole segment, not for a part of one",
    ),
    (
        "14",
        "p, alice, hr.Pay, select, deny\n",
        "error 1:14: names are lower case; did you mean `pay`? A name with capitals is written in double quotes",
    ),
    ("14", "p, alice, \"sales.\"\"Weird.Name\"\"\", select, allow\n", ""),
    ("14", "p, alice, sales.\"Weird.Name\", select, allow\n", ""),
    (
        "14",
        "p, alice, \"Sales\".orders, select, allow\n",
        "error 1:18: text behind a closing quote; a field that contains quotes is quoted as a whole: `\"\"\"Sales\"\".orders\"`",
    ),
    (
        "18",
        "p2, alice, crm.customers, select, deny\n",
        "error 1:1: a `p2` line filters rows: `p2, subject, object, condition`; what allows or denies is a `p` line",
    ),
    ("18", "p2, alice, crm.customers, deny\n", "error 1:27: there is no column `deny`"),
    ("19", "", "warning 1:1: no lines: nobody sees anything"),
    ("19", "# nothing\n\n   \n", "warning 1:1: no lines: nobody sees anything"),
    ("21", "g, a, b\ng, b, a\n", "error 1:4: the roles go in a ring: a → b → a"),
    ("21", "g, alice, alice\n", "error 1:4: the roles go in a ring: alice → alice"),
    ("21", "g, alice, r1\ng, r1, r2\ng, r2, r3\ng, r3, r1\n", "error 2:4: the roles go in a ring: r1 → r2 → r3 → r1"),
    (
        "20",
        "g,alice,r1\ng,r1,r2\ng,r2,r3\ng,r3,r4\ng,r4,r5\ng,r5,r6\ng,r6,r7\ng,r7,r8\ng,r8,r9\ng,r9,r10\ng,r10,r11\np,r11,sales.orders,select,allow\n",
        "error 1:3: a chain of 12 names, at most 10 are allowed: alice → r1 → r2 → r3 → r4 → r5 → r6 → r7 → r8 → r9 → r10 → r11",
    ),
    (
        "20",
        "g,alice,r1\ng,r1,r2\ng,r2,r3\ng,r3,r4\ng,r4,r5\ng,r5,r6\ng,r6,r7\ng,r7,r8\ng,r8,r9\np,r9,sales.orders,select,allow\n",
        "",
    ),
    (
        "22",
        "p, alice, sales.order, select, deny\n",
        "error 1:11: there is no table `sales.order`; did you mean `sales.orders`?",
    ),
    ("22", "p, alice, slaes.orders, select, deny\n", "error 1:11: there is no schema `slaes`; did you mean `sales`?"),
    (
        "22",
        "p, alice, sales.orders/regoin, select, deny\n",
        "error 1:24: `sales.orders` has no column `regoin`; did you mean `region`?",
    ),
    (
        "22",
        "p2, alice, sales.ordres, \"region = 'EU'\"\n",
        "error 1:12: there is no table `sales.ordres`; did you mean `sales.orders`?",
    ),
    (
        "22",
        "p3, alice, sales.orders, buyr, nullify\n",
        "error 1:26: `sales.orders` has no column `buyr`; did you mean `buyer`?",
    ),
    (
        "22",
        "p3, alice, sales.oders, buyer, nullify\n",
        "error 1:12: there is no table `sales.oders`; did you mean `sales.orders`?",
    ),
    (
        "22",
        "g2, sales.orders/phon, tag:pii\n",
        "error 1:18: `sales.orders` has no column `phon`; did you mean `phone`?",
    ),
    (
        "22",
        "p, alice, lakegate.adnim, select, allow\n",
        "error 1:11: there is no table `lakegate.adnim`; did you mean `lakegate.admin`?",
    ),
    ("unbound", "p, alice, later.anything, select, deny\n", ""),
    ("unbound", "p, alice, later.*, select, allow\n", ""),
    ("23", "p, alice, slaes.*, select, deny\n", "warning 1:11: there is no schema `slaes`; did you mean `sales`?"),
    ("23", "p, alice, *.nothing, select, deny\n", ""),
    (
        "23",
        "p, alice, sales.*/no_such, select, deny\n",
        "warning 1:11: no table of this pattern has a column `no_such`",
    ),
    (
        "23",
        "p, alice, tag:pi, select, deny\ng2, sales.orders, tag:pii\n",
        "warning 1:11: no object carries `tag:pi`; did you mean `pii`?",
    ),
    (
        "23",
        "p, ghosts, sales.orders, select, allow\ng, ghosts, ghostly\np, ghostly, sales.orders, select, allow\n",
        "warning 1:4: `ghosts` is neither a user nor a role; did you mean `ghostly`?\nwarning 2:4: `ghosts` is neither a user nor a role; did you mean `ghostly`?\nwarning 2:12: role `ghostly` has no members",
    ),
    (
        "23",
        "p2, alice, tag:pii, region = 'EU'\np, alice, tag:pii, insert, deny\np3, alice, tag:pii, fone, nullify\ng2, sales.orders/phone, tag:pii\n",
        "warning 1:12: `tag:pii` is on columns only; this line is about tables\nwarning 2:11: `tag:pii` is on columns only; this line is about tables\nwarning 3:21: nothing with `tag:pii` has a column `fone`",
    ),
    (
        "23b",
        "p, alcie, sales.orders, select, deny\n",
        "error 1:4: `alcie` is neither a user nor a role; did you mean `alice`?",
    ),
    (
        "23b",
        "p, alcie, sales.orders, select, allow\n",
        "warning 1:4: `alcie` is neither a user nor a role; did you mean `alice`?",
    ),
    (
        "23b",
        "p2, alcie, sales.orders, \"region = 'EU'\"\n",
        "error 1:5: `alcie` is neither a user nor a role; did you mean `alice`?",
    ),
    (
        "23b",
        "p3, alcie, sales.orders, buyer, nullify\n",
        "error 1:5: `alcie` is neither a user nor a role; did you mean `alice`?",
    ),
    (
        "23b",
        "p, restricted, sales.orders, select, deny\ng, alcie, restricted\n",
        "error 2:4: `alcie` is neither a user nor a role; did you mean `alice`?",
    ),
    ("23b", "p, *, sales.orders, select, deny\n", "error 1:4: `*` stands for objects only; name a user or a role"),
    (
        "24",
        "p, alice, sales.orders, Select, allow\n",
        "error 1:25: action `Select` is not one of select, insert, update, delete, create, drop, refresh, maintain, query; did you mean `select`?",
    ),
    (
        "24",
        "p, alice, sales.orders, read, allow\n",
        "error 1:25: action `read` is not one of select, insert, update, delete, create, drop, refresh, maintain, query",
    ),
    ("24", "p, alice, sales.orders, create, allow\n", "error 1:11: `create` is asked of a whole schema: `schema.*`"),
    ("24", "p, alice, sales.orders/buyer, update, deny\n", "error 1:11: a column knows `select` only, not `update`"),
    ("24", "p, alice, source:crm, select, allow\n", "error 1:11: a source knows `query` only, not `select`"),
    ("13", "p, alice, crm.*, query, deny\n", "error 1:11: `query` is asked of a source: `source:name`"),
    ("13", "p, alice, tag:pii, query, deny\n", "error 1:11: `query` is asked of a source: `source:name`"),
    ("13", "p, alice, source:*, query, allow\n", "error 1:18: `*` in a name; only a name in double quotes may hold it"),
    (
        "13",
        "p2, alice, source:crm, unfiltered\n",
        "error 1:12: `source:crm` has no rows or columns; it belongs in a `p` line",
    ),
    (
        "13",
        "p, alice, source:crn, query, allow\n",
        "error 1:18: there is no PostgreSQL source `crn`; did you mean `crm`?",
    ),
    (
        "13",
        "p, alice, lakegate.admin, insert, allow\n",
        "error 1:11: `lakegate.admin` knows `select` only, not `insert`",
    ),
    (
        "25",
        "p, analyst, sales.orders, select, allow\ng, analyst, alice\n",
        "warning 1:4: `analyst` is neither a user nor a role\nwarning 2:4: `analyst` is neither a user nor a role\nwarning 2:13: `alice` is a user and has members; were the two sides swapped?",
    ),
    (
        "26",
        "p2, alice, sales.orders, \"region = user.regoin\"\n",
        "error 1:36: attribute `user.regoin` is not declared in users.toml; did you mean `region`?",
    ),
    (
        "26",
        "p2, alice, sales.orders, \"regin = 'EU'\"\n",
        "error 1:27: there is no column `regin`; did you mean `region`?",
    ),
    (
        "26",
        "p2, alice, sales.orders, \"status = 'x' AND order_id\"\n",
        "error 1:44: a condition is true or false; this is int8",
    ),
    ("26", "p2, alice, sales.orders, \"order_id IN (SELECT 1)\"\n", "error 1:27: a subquery has no place here"),
    ("26", "p2, alice, sales.orders, \"EXISTS (SELECT 1)\"\n", "error 1:35: a subquery has no place here"),
    (
        "26",
        "p2, alice, sales.orders, \"order_id::text = '1'\"\n",
        "error 1:27: a cast has no place here; a constant takes the column's type by itself",
    ),
    (
        "26",
        "p2, alice, sales.orders, \"CAST(order_id AS text) = '1'\"\n",
        "error 1:32: a cast has no place here; a constant takes the column's type by itself",
    ),
    (
        "26",
        "p2, alice, sales.orders, \"1 / order_id = 1\"\n",
        "error 1:27: `/` is not an operator of policies: = <> < <= > >= IN LIKE BETWEEN IS AND OR NOT",
    ),
    ("26", "p2, alice, sales.orders, \"order_id = 'x'\"\n", "error 1:38: 'x' is no int8"),
    ("26", "p2, alice, sales.orders, \"total > 1.005\"\n", "error 1:35: 1.005 is no numeric(12,2)"),
    ("26", "p2, alice, sales.orders, \"region = 5\"\n", "error 1:36: 5 is no text"),
    (
        "26",
        "p2, alice, sales.orders, \"ordered_at > '2024-01-01 00:00:00'\"\n",
        "error 1:40: '2024-01-01 00:00:00' is no timestamptz",
    ),
    ("26", "p2, alice, sales.orders, \"region = \"\"Weird\"\" AND x = 1\"\n", "error 1:50: there is no column `x`"),
    (
        "26",
        "p2, alice, sales.orders, \"region = NULL\"\n",
        "error 1:36: a comparison with NULL is never true; use IS NULL",
    ),
    (
        "26",
        "p2, alice, sales.orders, \"region = user.countries\"\n",
        "error 1:36: `user.countries` is a list; write `IN (user.countries)`",
    ),
    ("26", "p2, alice, sales.orders, \"region = 'EU\"\n", "error 1:36: Unterminated string literal"),
    ("26", "p2, alice, sales.orders, \"region = 'EU' AND\"\n", "error 1:44: expected an expression, found the end"),
    ("26", "p2, alice, sales.orders, \"region = 'EU' region\"\n", "error 1:41: `region` does not belong here"),
    (
        "26",
        "p2, alice, sales.orders, \"now() > ordered_at\"\n",
        "error 1:27: function `now` is not one of the functions of policies",
    ),
    ("26", "p2, alice, sales.orders, \"region LIKE buyer\"\n", "error 1:39: the pattern of LIKE is a text constant"),
    (
        "26",
        "p2, alice, sales.orders, \"region ILIKE 'e%'\"\n",
        "error 1:27: ILIKE has no place here; write `lower(x) LIKE 'pattern'`",
    ),
    ("26", "p2, alice, sales.orders, \"region = 'EU' -- AND paid\"\n", "error 1:41: a condition has no comments"),
    (
        "26",
        "p2, alice, sales.orders/region, \"region = 'EU'\"\n",
        "error 1:25: a row filter is about a table, not a column",
    ),
    (
        "26",
        "p2, alice, *, \"region = 'EU'\"\n",
        "error 1:16: there is no column `region` (for `bronze.events`)\nerror 1:16: there is no column `region` (for `hr.pay`)\nerror 1:16: there is no column `region` (for `sales.\"Weird.Name\"`)\nerror 1:16: there is no column `region` (for `sales.customer_notes`)\nerror 1:16: there is no column `region` (for `sales.products`)\nerror 1:16: there is no column `region` (for `stream.order_events`)",
    ),
    (
        "27",
        "p3, alice, sales.orders, buyer, nulify\n",
        "error 1:33: mask `nulify` is not one of nullify, constant, redact, hash, partial, last4, first4, year, custom, unmasked; did you mean `nullify`?",
    ),
    (
        "27",
        "p3, alice, sales.orders, buyer, \"partial(2, '***')\"\n",
        "error 1:34: `partial` is written `partial(first, 'text', last)`",
    ),
    (
        "27",
        "p3, alice, sales.orders, buyer, \"partial('a', '***', 2)\"\n",
        "error 1:34: `partial` is written `partial(first, 'text', last)`",
    ),
    (
        "27",
        "p3, alice, sales.orders, order_id, last4\n",
        "error 1:36: `partial` is for text, column `order_id` is int8",
    ),
    (
        "27",
        "p3, alice, sales.orders, buyer, year\n",
        "error 1:33: `year` is for date and timestamp, column `buyer` is text",
    ),
    ("27", "p3, alice, sales.orders, total, \"constant('x')\"\n", "error 1:34: 'x' is no numeric(12,2)"),
    (
        "27",
        "p3, alice, sales.orders, order_id, hash\n",
        "error 1:36: `hash` is for text and bytea, column `order_id` is int8",
    ),
    ("27", "p3, alice, sales.orders, buyer, \"custom(\"\"coalesce(nickname, 5)\"\")\"\n", "error 1:62: 5 is no text"),
    (
        "27",
        "p3, alice, sales.orders, buyer, \"custom(\"\"coalesce(nickname\"\")\"\n",
        "error 1:60: expected ), found the end",
    ),
    ("27", "p3, alice, sales.orders, buyer, \"nullify()\"\n", "error 1:34: `nullify` takes no arguments"),
    (
        "27b",
        "p3, alice, sales.orders, buyer, last4\ng, alice, analyst\np3, analyst, sales.orders, buyer, first4\n",
        "error 3:35: user `alice` meets two masks of one strictness on `sales.orders/buyer`: line 1 says `last4`, this line `first4`",
    ),
    (
        "27b",
        "p3, alice, sales.orders, buyer, \"custom(\"\"nickname\"\")\"\ng, alice, analyst\np3, analyst, sales.*, buyer, \"custom(\"\"status\"\")\"\n",
        "error 3:30: user `alice` meets two masks of one strictness on `sales.orders/buyer`: line 1 says `custom(\"nickname\")`, this line `custom(\"status\")`",
    ),
    (
        "28",
        "p, alice, sales.orders, select, allow\np, alice, sales.orders, select, allow\n",
        "warning 2:1: the same as line 1",
    ),
    (
        "28",
        "p, alice, sales.orders, select, allow\np, alice, sales.orders, select, deny\n",
        "warning 2:1: line 1 says the opposite; the deny wins",
    ),
    ("29", "p, alice, sales.оrders, select, deny\n", "error 1:17: U+043E (`о`) looks like another letter"),
    ("29", "p, alice, hr.рау, select, deny\n", "error 1:14: U+0440 (`р`) looks like another letter"),
    ("29", "p, alice, sales.or\u{200b}ders, select, deny\n", "error 1:19: U+200B cannot be seen; delete it"),
    (
        "29",
        "p, alice,\u{a0}sales.orders, select, deny\n",
        "error 1:10: U+00A0 is a blank of another kind; use a plain blank",
    ),
    (
        "29",
        "p, alice,\tsales.orders, select, deny\n",
        "error 1:10: U+0009 (tab) does not separate fields; separate them by commas",
    ),
    (
        "29",
        "p, alice, \"sales.\u{a0}orders\", select, deny\n",
        "error 1:18: U+00A0 in a name; only a name in double quotes may hold it",
    ),
    ("29", "p, ａlice, sales.orders, select, deny\n", "error 1:4: U+FF41 (`ａ`) looks like another letter"),
    (
        "30",
        "p; alice; sales.orders; select; deny\n",
        "error 1:2: `;` does not separate fields; separate them by commas",
    ),
    (
        "30",
        "p\talice\tsales.orders\tselect\tdeny\n",
        "error 1:2: U+0009 (tab) does not separate fields; separate them by commas",
    ),
    ("30", "p, alice, sales.ord\0ers, select, deny\n", "error 1:20: U+0000 cannot be seen; delete it"),
    ("more", "p, , sales.orders, select, \n", "error 1:4: the subject is empty\nerror 1:28: the effect is empty"),
    (
        "more",
        "p, alice, orders, select, deny\n",
        "error 1:17: a table is `schema.table`, found one segment; every table of a schema is `orders.*`",
    ),
    ("more", "p, alice, sales., select, deny\n", "error 1:17: a name is missing here"),
    ("more", "p, alice, tag:PII, select, deny\n", "error 1:15: a tag is lower case; did you mean `tag:pii`?"),
    ("more", "g2, sales.*, tag:pii\n", "error 1:5: a tag is put on one table or one column, named without `*`"),
    (
        "more",
        "g2, sales.orders, pii\n",
        "error 1:22: a table is `schema.table`, found one segment; every table of a schema is `pii.*`",
    ),
    ("more", "p, alice, sales.orders, select, allow\r\np2, alice, sales.orders, unfiltered\r\n", ""),
    (
        "more",
        "p, Alice, sales.orders, select, Deny\nx\np, alice, sales.nope, select, allow\n",
        "error 1:33: effect `Deny` is not `allow` or `deny`; did you mean `deny`?\nerror 2:1: line kind `x` is not one of p, p2, p3, g, g2",
    ),
];

/// 3: a byte order mark costs no line.
#[test]
fn a_deny_behind_a_byte_order_mark_counts() {
    let csv = "\u{feff}p, alice, sales.orders, select, deny\np, alice, sales.*, select, allow\n";
    let alice = session(&policies(csv), "alice");
    assert!(matches!(alice.decide(id("sales.orders"), Action::Select), Decision::Deny));
    assert!(matches!(alice.decide(id("sales.products"), Action::Select), Decision::Allow(_)));
}

/// 30: bytes that are no UTF-8, and what other editors save.
#[test]
fn bytes_that_are_no_text_are_named_where_they_stand() {
    let table: [(&[u8], &str); 4] = [
        (
            b"p, alice, sales.orders, select, allow\np, m\xfcller, sales.orders, select, allow\n",
            "2:5: byte 0xFC is not UTF-8; save the file as UTF-8",
        ),
        (b"# M\xfcller\n", "1:4: byte 0xFC is not UTF-8; save the file as UTF-8"),
        (b"\xff\xfep\0,\0", "1:1: byte 0xFF is not UTF-8; save the file as UTF-8"),
        (b"p, alice,\x0csales.orders, select, allow\n", "1:10: U+000C cannot be seen; delete it"),
    ];
    for (bytes, expected) in table {
        let folder = folder(MODEL.as_bytes(), bytes, USERS.as_bytes());
        let faults = Draft::read(folder.path()).unwrap_err();
        assert_eq!(shown(&faults, folder.path()), format!("policy.csv:{expected}"));
    }
}

/// 15, 16, 17: what would mean something else is refused; what means the same may be written in any way.
#[test]
fn a_model_may_be_spelt_in_any_way_that_means_the_same() {
    let commented = format!("# ours\n\n  # indented\n{}\n\n", MODEL.replace("[matchers]", "\n# how\n[matchers]"));
    let spaced = MODEL.replace("p  = sub, obj", "  p=sub ,  obj").replace("g2 = _, _", "g2 =   _,_");
    let (head, matchers) = MODEL.split_once("[matchers]").unwrap();
    let moved = format!("[matchers]{matchers}{head}");
    let turned = MODEL.replace(
        "r.act == p.act && (objMatch(r.obj, p.obj) || g2(r.obj, p.obj)) && g(r.sub, p.sub)",
        "g(r.sub,p.sub) && (g2(r.obj, p.obj)||objMatch(r.obj, p.obj)) && r.act==p.act",
    );
    assert_ne!(turned, MODEL);
    for good in
        [MODEL.to_owned(), commented, MODEL.replace('\n', "\r\n"), format!("\u{feff}{MODEL}"), spaced, moved, turned]
    {
        let read = Draft::read(folder(good.as_bytes(), b"", USERS.as_bytes()).path());
        assert!(read.is_ok(), "{good}");
    }
}

#[test]
fn a_model_that_means_something_else_is_refused_with_its_line_and_the_reason() {
    let table = [
        ("[matchers]", "[matcher]", "12:1: there is no section `matcher`; did you mean `matchers`?"),
        ("act, eft", "act, effect", "4:6: `p = sub, obj, act, effect`: the fields of a line are fixed"),
        (
            "some(where (p.eft == allow)) && !some(where (p.eft == deny))",
            "!some(where (p.eft == deny)) && some(where (p.eft == allow))",
            "11:5: the effect is always `some(where (p.eft == allow)) && !some(where (p.eft == deny))`: one line must allow",
        ),
        ("some(where (p.eft == allow)) && ", "", "11:5: the effect is always"),
        ("g2 = _, _\n", "", "13:1: `g2 = _, _` is missing in `[role_definition]`"),
        ("g2 = _, _", "g2 = _, _ # tags", "9:6: a comment takes a whole line"),
        ("g  = _, _", "g  = _, _, _", "8:6: `g = _, _, _`: a role domain is not supported"),
        (
            "r = sub, obj, act",
            "r = sub, dom, obj, act",
            "2:5: `r = sub, dom, obj, act`: a role domain is not supported",
        ),
        (
            "r = sub, obj, act",
            "r = sub, obj, act, ip",
            "2:5: `r = sub, obj, act, ip`: a request is who, what and which",
        ),
        (
            "g(r.sub, p.sub)",
            "g(r.sub, p.sub) && r.sub.region == \"EU\"",
            "13:5: `r.sub.region==\"EU\"`: a condition over attributes of the subject is not supported here: rows are \
             filtered by a `p2` line",
        ),
        (" && g(r.sub, p.sub)", "", "13:5: the condition `g(r.sub,p.sub)` is missing"),
        (
            "g(r.sub, p.sub)",
            "g(r.sub, p.sub) || r.sub == \"root\"",
            "13:5: `g(r.sub,p.sub)||r.sub==\"root\"`: lakegate decides",
        ),
        ("r.act == p.act", "true", "13:5: `true`: lakegate decides by no such condition"),
        ("m = ", "m2 = ", "13:1: `m2` is not defined by lakegate's model"),
        ("e = some", "m = some", "11:1: `m` belongs in the section `[matchers]`"),
    ];
    for (from, to, expected) in table {
        let model = MODEL.replacen(from, to, 1);
        assert_ne!(model, MODEL, "{from}");
        let folder = folder(model.as_bytes(), b"", USERS.as_bytes());
        let told = shown(&Draft::read(folder.path()).unwrap_err(), folder.path());
        assert!(told.lines().any(|line| line.starts_with(&format!("model.conf:{expected}"))), "{expected}\n{told}");
    }
    let twice = format!("{MODEL}m = true\n");
    let empty = folder(b"", b"", USERS.as_bytes());
    assert_eq!(shown(&Draft::read(empty.path()).unwrap_err(), empty.path()).lines().count(), 8);
    let folder = folder(twice.as_bytes(), b"", USERS.as_bytes());
    let told = shown(&Draft::read(folder.path()).unwrap_err(), folder.path());
    assert!(told.contains("model.conf:14:1: `m` is defined in line 13 already"), "{told}");
}

#[test]
fn mistakes_in_users_toml() {
    let good = &scram_verifier("x", b"12345678", 4096);
    let user = format!("[user.alice]\nscram = \"{good}\"\n");
    let with = |text: &str| format!("[attributes]\nregion = \"text\"\ntags = \"text[]\"\n{user}{text}\n");
    let table = [
        ("user = 5\n".into(), "1:8: `user` is tables `[user.NAME]`, found integer"),
        (
            "[users.alice]\n".into(),
            "1:2: key `users` is unknown, expected attributes, role, user; did you mean `user`?",
        ),
        ("[user]\nalice = 5\n".into(), "2:9: `alice` is a table `[user.NAME]`, found integer"),
        ("[user.alice]\n".into(), "1:7: user `alice` has no `scram`; make one with `lakegate policy user add`"),
        ("[user.alice]\nscram = 5\n".into(), "2:9: `scram` is text, found integer"),
        (
            "[user.alice]\nscram = \"secret\"\n".into(),
            "2:9: scram: a verifier begins with `SCRAM-SHA-256$`; make one with `lakegate policy user add`",
        ),
        (
            with("password = \"x\""),
            "6:1: key `password` is unknown, expected scram, attributes, may_act_for, max_staleness",
        ),
        (
            with("scarm = \"x\""),
            "6:1: key `scarm` is unknown, expected scram, attributes, may_act_for, max_staleness; did you mean `scram`?",
        ),
        (with("attributes = 5"), "6:14: `attributes` is a table, found integer"),
        (
            with("attributes = { regoin = \"EU\" }"),
            "6:16: attribute `regoin` is unknown, expected region, tags; did you mean `region`?",
        ),
        (with("attributes = { region = 5 }"), "6:25: `region` is text, found integer"),
        (with("attributes = { region = [\"EU\"] }"), "6:25: `region` is text, found array"),
        (with("attributes = { tags = \"EU\" }"), "6:23: `tags` is text[], found string"),
        (with("attributes = { tags = [\"EU\", 5] }"), "6:23: `tags` is text[], found array"),
        (with("may_act_for = \"bob\""), "6:15: `may_act_for` is a list of users, found string"),
        (with("may_act_for = [5]"), "6:16: `may_act_for` is a list of users, found integer"),
        (with("may_act_for = [\"alice\"]"), "6:16: user `alice` acts for itself without being allowed to"),
        (with("max_staleness = 5"), "6:17: `max_staleness` is a text as `5 min`, found integer"),
        (
            with("max_staleness = \"5 mins\""),
            "6:17: max_staleness: `5 mins` is no age; say for example `30 s`, `5 min` or `1 h`",
        ),
        ("[role]\nanalyst = 5\n".into(), "2:11: `analyst` is a table `[role.NAME]`, found integer"),
        (
            "[role.analyst]\nmax_stalenes = \"5 min\"\n".into(),
            "2:1: key `max_stalenes` is unknown, expected max_staleness; did you mean `max_staleness`?",
        ),
        (format!("{user}{user}"), "3:7: duplicate key\nusers.toml:4:1: duplicate key"),
        (with("scram = ["), "6:1: duplicate key\nusers.toml:6:10: unclosed array, expected `]`"),
        (
            "[attributes]\nRegion = \"text\"\n".into(),
            "2:1: attribute `Region`: lower-case letters, digits and `_` only",
        ),
        (
            "[attributes]\nregion = \"txt\"\n".into(),
            "2:10: type `txt` is unknown, expected text, text[], int8, int8[], bool, date, date[]; did you mean `text`?",
        ),
        ("[attributes]\nregion = 5\n".into(), "2:10: `region` is the name of a type, found integer"),
        (
            format!("[user.\"a b\"]\nscram = \"{good}\"\n"),
            "1:7: user `a b`: U+0020 in a name; only a name in double quotes may hold it",
        ),
    ];
    for (users, expected) in table {
        let faults = Draft::parse("", &users).unwrap_err();
        assert_eq!(lines(&faults), format!("users.toml:{expected}"), "{users}");
    }
    // one look tells all
    let faults = Draft::parse("x\n", "[attributes]\na = \"txt\"\n[user.b]\n[user.c]\nscrum = 1\n").unwrap_err();
    assert_eq!(faults.len(), 5, "{}", lines(&faults));
    let (_, warnings) = Draft::parse("# no lines\n", &with("may_act_for = [\"bob\"]")).unwrap();
    assert!(
        lines(&warnings).ends_with("\nusers.toml:6:16: may_act_for: there is no user `bob`"),
        "{}",
        lines(&warnings)
    );
}

#[test]
fn files_that_others_could_read_or_write_are_refused() {
    let verdict = |name: &str, mode: u32| {
        let folder = folder(MODEL.as_bytes(), b"", USERS.as_bytes());
        let path = folder.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let said = Draft::read(folder.path()).map_or_else(|f| shown(&f, folder.path()), |_| "good".into());
        said.replace(&folder.path().display().to_string(), "DIR")
    };
    let table = [
        ("users.toml", 0o600, "good"),
        ("users.toml", 0o640, "good"),
        (
            "users.toml",
            0o644,
            "users.toml:1:1: anybody may read this file, which holds password verifiers; run: chmod 600 DIR/users.toml",
        ),
        ("users.toml", 0o660, "users.toml:1:1: its group may write this file; run: chmod 600 DIR/users.toml"),
        ("users.toml", 0o602, "users.toml:1:1: anybody may write this file; run: chmod 600 DIR/users.toml"),
        ("policy.csv", 0o644, "good"),
        ("policy.csv", 0o664, "policy.csv:1:1: its group may write this file; run: chmod 600 DIR/policy.csv"),
        ("model.conf", 0o646, "model.conf:1:1: anybody may write this file; run: chmod 600 DIR/model.conf"),
    ];
    for (name, mode, expected) in table {
        assert_eq!(verdict(name, mode), expected, "{name} {mode:o}");
    }
}

#[test]
fn only_regular_files_of_the_folder_and_of_a_size_are_read() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("policy.csv"), "").unwrap();
    let swap = |put: &dyn Fn(&Path)| {
        let folder = folder(MODEL.as_bytes(), b"", USERS.as_bytes());
        fs::remove_file(folder.path().join("policy.csv")).unwrap();
        put(&folder.path().join("policy.csv"));
        Draft::read(folder.path()).map_or_else(|f| shown(&f, folder.path()), |_| "good".into())
    };
    let place = outside.path().join("policy.csv");
    assert_eq!(
        swap(&|at| symlink(&place, at).unwrap()),
        "policy.csv:1:1: this is a link out of the folder; put the file itself here"
    );
    assert!(swap(&|at| symlink("model.conf", at).unwrap()).contains("line kind `r = sub`"), "a link inside is read");
    assert_eq!(swap(&|at| fs::create_dir(at).unwrap()), "policy.csv:1:1: this is not a regular file");
    assert_eq!(swap(&|_| ()), "policy.csv:1:1: cannot find this file: No such file or directory (os error 2)");
    let large = |at: &Path| File::create(at).unwrap().set_len((16 << 20) + 1).unwrap();
    assert_eq!(swap(&large), "policy.csv:1:1: this file is larger than 16 MiB");
}

#[test]
fn faults_end_somewhere() {
    let faults = Draft::parse(&"x\n".repeat(5_000), USERS).unwrap_err();
    assert_eq!(faults.len(), 1_001);
    assert_eq!(faults.last().unwrap().text, "and 4000 more");
}

#[test]
fn the_hash_is_of_every_byte_of_every_file() {
    let hash = |csv: &str, users: &str| Draft::parse(csv, users).unwrap().0.hash();
    let base = hash("", USERS);
    assert_eq!(base, hash("", USERS));
    assert_ne!(base, hash("#\n", USERS));
    assert_ne!(base, hash("", &format!("{USERS}#")));
}

/// 49: 10,000 truncations and flipped bytes. Nothing panics; what is accepted is what its own lines say: read back in
/// canonical spelling it is the same set.
#[test]
fn damaged_files_are_read_as_what_they_are_or_refused() {
    let mut dice = Dice(49);
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..10_000 {
        let mut csv = EXAMPLE.as_bytes().to_vec();
        if dice.below(3) == 0 {
            csv.truncate(dice.below(csv.len()));
        }
        for _ in 0..dice.below(4) {
            let at = dice.below(csv.len().max(1));
            if let Some(byte) = csv.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        let file = SourceFile { name: "policy.csv".into(), bytes: csv.clone() };
        let users = SourceFile { name: "users.toml".into(), bytes: USERS.into() };
        let model = SourceFile { name: "model.conf".into(), bytes: MODEL.into() };
        let Ok((draft, _)) = Files([Ok(model), Ok(file), Ok(users)]).parse() else {
            refused += 1;
            continue;
        };
        accepted += 1;
        let (again, _) =
            Draft::parse(&canonical(&draft), USERS).unwrap_or_else(|f| panic!("round {round}: {}", lines(&f)));
        assert_eq!(canonical(&again), canonical(&draft), "round {round}");
        // and every line that is not blank or a comment has become exactly one
        let text = String::from_utf8(csv).unwrap();
        let written = text.lines().filter(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#')).count();
        assert_eq!(canonical(&draft).lines().count(), written, "round {round}\n{text}");
    }
    println!("{refused} refused, {accepted} accepted");
    assert!(refused > 2_000 && accepted > 500);
}

/// Users.toml under the same: a verifier or an attribute is never half read.
#[test]
fn damaged_users_are_refused_or_whole() {
    let mut dice = Dice(50);
    for _ in 0..3_000 {
        let mut users = USERS.as_bytes().to_vec();
        let at = dice.below(users.len());
        match dice.below(2) {
            0 => users.truncate(at),
            _ => users[at] ^= 1 << dice.below(8),
        }
        let Ok(text) = String::from_utf8(users) else { continue };
        if let Ok((draft, _)) = Draft::parse("", &text) {
            for (name, user) in &draft.users.users {
                assert!(check_verifier(user.verifier.reveal()).is_ok(), "{name}");
                assert!(user.attributes.keys().all(|a| draft.users.attributes.contains_key(a)));
            }
        }
    }
}

/// Every line as the loader understood it.
fn canonical(draft: &Draft) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let action = |a: Action| super::lines::ACTIONS.iter().find(|(_, b)| *b == a).unwrap().0;
    let all = &draft.lines;
    let permits = all.permits.iter().map(|l| {
        let effect = if l.allow { "allow" } else { "deny" };
        format!("p,{},{},{},{effect}", l.subject.text, quoted(&l.target.to_string()), action(l.action))
    });
    let filters = all
        .filters
        .iter()
        .map(|l| format!("p2,{},{},{}", l.subject.text, quoted(&l.target.to_string()), quoted(l.condition.text())));
    let masks = all.masks.iter().map(|l| {
        let (target, column, mask) = (l.target.to_string(), l.column.to_string(), l.mask.to_string());
        format!("p3,{},{},{},{}", l.subject.text, quoted(&target), quoted(&column), quoted(&mask))
    });
    let members = all.members.iter().map(|l| format!("g,{},{}", l.member.text, l.role.text));
    let tags = all.tags.iter().map(|l| format!("g2,{},tag:{}", quoted(&l.target.to_string()), l.tag));
    permits.chain(filters).chain(masks).chain(members).chain(tags).map(|l| format!("{l}\n")).collect()
}

fn folder(model: &[u8], policy: &[u8], users: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("model.conf", model), ("policy.csv", policy), ("users.toml", users)] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

/// Faults without the folder's name.
fn shown(faults: &[Fault], folder: &Path) -> String {
    lines(faults)
        .replace(&format!("{}/", folder.display()), "")
        .replace("chmod 600 ", &format!("chmod 600 {}/", folder.display()))
}
