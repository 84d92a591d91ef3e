//! What clients ask the catalogs at once after they connect, from catalog and policy files to rows. It runs the engine
//! in process; the wire's own tests send bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use lakegate::engine::world::{Builder, Origin};
use lakegate::engine::{Answer, Config, Current, Engine, Session};
use lakegate::error::Result;
use lakegate::metastore::{self, Metastore};
use lakegate::secret::Secret;
use lakegate::sources;

const MODEL: &str = "[request_definition]
r = sub, obj, act

[policy_definition]
p  = sub, obj, act, eft
p2 = sub, obj, filter
p3 = sub, obj, col, mask

[role_definition]
g  = _, _
g2 = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = r.act == p.act && (objMatch(r.obj, p.obj) || g2(r.obj, p.obj)) && g(r.sub, p.sub)
";

const POLICY: &str = "p, analyst, crm.customers, select, allow
p, analyst, crm.customers/ssn, select, deny
p, analyst, reports.*, select, allow
p, boss, *, select, allow
p, boss, lakegate.admin, select, allow
g, ann, analyst
g, root, boss
";

const FIXTURES: &str = r#"kind = "memory"
[[table]]
name = "crm.customers"
columns = [
    { name = "id", type = "int8" },
    { name = "ssn", type = "text" },
    { name = "name", type = "varchar(40)" },
    { name = "credit", type = "numeric(12,2)" },
]
rows = [[1, "123", "Ada", "10.50"]]

[[table]]
name = "hr.pay"
columns = [{ name = "amount", type = "int8" }]
"#;

/// Nobody logs in by it here.
const SCRAM: &str = "SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The engine over the files above.
async fn engine(folder: &Path) -> Arc<Engine> {
    write(folder, "catalog/sources/fixtures.toml", FIXTURES);
    write(
        folder,
        "catalog/datasets/reports.totals.sql",
        "-- owner: root\nSELECT sum(credit) AS total FROM crm.customers\n",
    );
    write(folder, "policies/model.conf", MODEL);
    write(folder, "policies/policy.csv", POLICY);
    write(
        folder,
        "policies/users.toml",
        &format!("[user.ann]\nscram = \"{SCRAM}\"\n[user.root]\nscram = \"{SCRAM}\"\n"),
    );
    let config = metastore::Config { path: folder.join("metastore.db"), ..Default::default() };
    let metastore = Arc::new(Metastore::open(&config).await.unwrap());
    let connected = Arc::clone(&metastore);
    let origin = Origin {
        catalog_dir: folder.join("catalog"),
        policies_dir: folder.join("policies"),
        database: "shop".into(),
        mask_key: Secret::new(vec![1; 32]),
        connect: Box::new(move |file| sources::connect(&file.name, &file.config, &connected)),
        metastore: Some(metastore),
        remember: true,
        judge: Default::default(),
    };
    let (_, world) = Builder::start(origin, None).await.unwrap();
    let config = Config { database: "shop".into(), ..Config::default() };
    Engine::new(config, Arc::new(Current::new(Arc::new(world))), Secret::new(vec![2; 32])).unwrap()
}

fn session(engine: &Arc<Engine>, user: &str) -> Session {
    let startup =
        [("database", "shop"), ("search_path", "crm, hr, reports")].map(|(k, v)| (k.to_string(), v.to_string()));
    engine.session(engine.login(user).unwrap(), &startup, 4711).unwrap()
}

/// Rows as text, cells separated by `|`.
async fn rows(session: &mut Session, sql: &str, parameters: Vec<ScalarValue>) -> Result<Vec<String>> {
    let prepared = session.prepare(sql, &[]).await?;
    let Answer::Rows(mut rows) = session.execute(&prepared, parameters, Default::default()).await? else {
        return Ok(vec![]);
    };
    let mut shown = vec![];
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|c| array_value_to_string(c, row).unwrap());
            shown.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    Ok(shown)
}

/// The statement psql sends for a command.
fn psql(command: &str) -> &'static str {
    let all = include_str!("data/psql.sql");
    let from = all.find(&format!("\n-- {command}\n")).unwrap() + command.len() + 5;
    all[from..].split_inclusive(";\n").next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_lists_what_the_policy_shows() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path()).await;
    let expect: [(&str, &[&str], &[&str]); 6] = [
        ("\\l", &["shop|pg_lakegate|UTF8|C|C||libc|"], &["shop|pg_lakegate|UTF8|C|C||libc|"]),
        (
            "\\dn",
            &["crm|pg_lakegate", "reports|pg_lakegate"],
            &["crm|pg_lakegate", "hr|pg_lakegate", "reports|pg_lakegate"],
        ),
        (
            "\\dt",
            &["crm|customers|table|pg_lakegate"],
            &["crm|customers|table|pg_lakegate", "hr|pay|table|pg_lakegate"],
        ),
        ("\\dv", &["reports|totals|view|pg_lakegate"], &["reports|totals|view|root"]),
        (
            "\\du",
            &[
                "analyst|false|true|false|false|false|-1||[]|false|false",
                "ann|false|true|false|false|true|-1||[analyst]|false|false",
            ],
            &[
                "analyst|false|true|false|false|false|-1||[]|false|false",
                "ann|false|true|false|false|true|-1||[analyst]|false|false",
                "boss|false|true|false|false|false|-1||[]|false|false",
                "root|false|true|false|false|true|-1||[boss]|false|false",
            ],
        ),
        (
            "\\d",
            &["crm|customers|table|pg_lakegate", "reports|totals|view|pg_lakegate"],
            &["crm|customers|table|pg_lakegate", "hr|pay|table|pg_lakegate", "reports|totals|view|root"],
        ),
    ];
    let (mut ann, mut root) = (session(&engine, "ann"), session(&engine, "root"));
    for (command, to_ann, to_root) in expect {
        assert_eq!(rows(&mut ann, psql(command), vec![]).await.unwrap(), to_ann, "{command} of ann");
        assert_eq!(rows(&mut root, psql(command), vec![]).await.unwrap(), to_root, "{command} of root");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_find_types_and_columns() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path()).await;
    let mut ann = session(&engine, "ann");
    // tokio-postgres, for each type it does not know
    let lookup = "SELECT t.typname, t.typtype, t.typelem, r.rngsubtype, t.typbasetype, n.nspname, t.typrelid
        FROM pg_catalog.pg_type t
        LEFT OUTER JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
        INNER JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid
        WHERE t.oid = $1";
    assert_eq!(ann.prepare(lookup, &[]).await.unwrap().parameters, [26]);
    for (oid, expect) in [(1231, "_numeric|b|1700||0|pg_catalog|0"), (3904, "int4range|r|0|23|0|pg_catalog|0")] {
        let found = rows(&mut ann, lookup, vec![ScalarValue::UInt32(Some(oid))]).await.unwrap();
        assert_eq!(found, [expect]);
    }
    // node's postgres, at its first statement
    let arrays = "select b.oid, b.typarray from pg_catalog.pg_type a
        left join pg_catalog.pg_type b on b.oid = a.typelem
        where a.typcategory = 'A' group by b.oid, b.typarray order by b.oid";
    let found = rows(&mut ann, arrays, vec![]).await.unwrap();
    assert!(found.contains(&"23|1007".to_string()) && found.contains(&"2950|2951".to_string()), "{found:?}");
    // a column list as most tools make it, with the hidden column out of the count
    let columns = "SELECT a.attnum, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'customers'::regclass AND a.attnum > 0 ORDER BY 1";
    let found = rows(&mut ann, columns, vec![]).await.unwrap();
    assert_eq!(found, ["1|id|bigint", "2|name|character varying(40)", "3|credit|numeric(12,2)"]);
    let of_root = rows(&mut session(&engine, "root"), columns, vec![]).await.unwrap();
    assert_eq!(of_root.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_answers_as_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path()).await;
    let mut ann = session(&engine, "ann");
    for question in [
        "SELECT '{}'::regclass",
        "SELECT to_regclass('{}')",
        "SELECT has_table_privilege('{}', 'select')",
        "SELECT pg_get_viewdef('{}')",
        "SELECT count(*) FROM pg_class WHERE relname = '{}'",
        "SELECT count(*) FROM information_schema.columns WHERE table_name = '{}'",
    ] {
        let mut answers = vec![];
        for name in ["hr.pay", "hr.yap"] {
            let answer = rows(&mut ann, &question.replace("{}", name), vec![]).await;
            let text =
                answer.map_or_else(|e| format!("{} {}", e.kind().sqlstate(), e.message()), |rows| rows.join("\n"));
            answers.push(text.replace(name, "it"));
        }
        assert_eq!(answers[0], answers[1], "{question}");
    }
    let definition = "SELECT pg_get_viewdef('reports.totals')";
    assert_eq!(rows(&mut ann, definition, vec![]).await.unwrap(), [""]);
    let of_root = rows(&mut session(&engine, "root"), definition, vec![]).await.unwrap();
    assert!(of_root[0].contains("sum(credit)"), "{of_root:?}");
}
