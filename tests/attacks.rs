//! Attacks on the policy over the PostgreSQL door, simple and extended, on memory and Iceberg tables. Three oracles: two
//! worlds that differ only in hidden cells must answer alike, errors included; both must answer like a copy from which
//! the hidden cells have been removed; and no canary may appear in anything a client reads.

mod acting;
mod barrier;
mod catalogs;
mod datasets;
mod existence;
mod files;
mod generated;
mod governance;
mod identity;
mod masks;
mod new_columns;
mod oracle;
mod places;
mod revocation;
mod row_types;
mod sequences;
mod source_queries;
mod statements;
mod views;

use crate::gateway::{Files, Gateway, extended, simple};

/// Who may do what in the fixture: ann sees region EU, `ssn` and `bonus` masked, `confession` not at all.
pub const POLICY: &str = r#"
p, root, *, select, allow
p, root, *, insert, allow
p, root, *, create, allow
p, root, *, drop, allow
p, root, lakegate.admin, select, allow
p2, root, *, unfiltered
p, ann, hr.emp, select, allow
p, ann, hr.ghost, select, allow
p, ann, hr.dept, select, allow
p, ann, lake.emp, select, allow
p, ann, lake.ghost, select, allow
p, ann, lake.dept, select, allow
p, ann, views.*, select, allow
p2, ann, hr.emp, "region = user.region"
p2, ann, hr.ghost, "region = user.region"
p2, ann, lake.emp, "region = user.region"
p2, ann, lake.ghost, "region = user.region"
p3, ann, hr.emp, ssn, redact
p3, ann, lake.emp, ssn, redact
p3, ann, hr.emp, bonus, nullify
p3, ann, lake.emp, bonus, nullify
p, ann, hr.emp/confession, select, deny
p, ann, lake.emp/confession, select, deny
p, ann, hr.ghost/confession, select, deny
p, ann, lake.ghost/confession, select, deny
p, zoe, hr.dept, select, allow
"#;

/// Until the lake has its schema, lines that name it would be typing mistakes.
const BOOTSTRAP: &str = r#"
p, root, *, select, allow
p, root, *, create, allow
"#;

/// The same ann over a copy without what is hidden: full grants.
const COPY_POLICY: &str = r#"
p, root, *, select, allow
p, root, *, insert, allow
p, root, *, create, allow
p, root, *, drop, allow
p2, root, *, unfiltered
p, ann, *, select, allow
"#;

/// id, name, region, salary, secret, ssn, bonus, confession, active. Hidden cells hold canaries.
#[derive(Clone, Copy, PartialEq)]
pub enum World {
    A,
    B,
    /// What ann may see, physically.
    Copy,
}

impl World {
    fn rows(self) -> Vec<String> {
        let visible = [
            (1, "ada", 30, "11", true),
            (2, "bob", 40, "22", false),
            (3, "eve", 30, "33", true),
            (4, "fay", 55, "44", true),
        ];
        let shown = visible.iter().map(|(id, name, salary, secret, active)| {
            let (ssn, bonus, confession) = match self {
                Self::A => (format!("'S-{id}{id}{id}'"), format!("{}", id + 5), format!("'CNRY-a{id}'")),
                Self::B => (format!("'Z-{}'", 9 - id), format!("{}", 900 - id), format!("'CNRY-b{id}'")),
                Self::Copy => ("'xxxx'".into(), "NULL".into(), "NULL".into()),
            };
            format!("({id}, '{name}', 'EU', {salary}, '{secret}', {ssn}, {bonus}, {confession}, {active})")
        });
        let hidden: &[&str] = match self {
            Self::A => &[
                "(10, 'CNRY-hal', 'US', 20, 'CNRY-secret:20', 'S-110', 9, 'CNRY-h', true)",
                "(0, 'CNRY-zed', 'US', 99, '88', 'S-111', 9, 'CNRY-z', true)",
                "(11, 'CNRY-nul', NULL, 41, '5', 'S-5', 9, 'CNRY-n', true)",
            ],
            Self::B => &[
                "(11, 'CNRY-ivy', 'US', 21, '77', 'S-666', 1, 'CNRY-i', false)",
                "(12, 'CNRY-joe', 'US', 29, '66', 'S-667', 1, 'CNRY-j', true)",
                "(13, 'CNRY-kim', 'APAC', 28, '55', 'S-668', 1, 'CNRY-k', true)",
            ],
            Self::Copy => &[],
        };
        hidden.iter().map(|r| (*r).to_string()).chain(shown).collect()
    }

    /// Only hidden rows in A, none at all elsewhere.
    fn ghosts(self) -> Vec<String> {
        if self == Self::A { self.rows().into_iter().take(3).collect() } else { vec![] }
    }

    pub async fn start(self) -> Gateway {
        let (policy, memory) = match self {
            Self::Copy => (COPY_POLICY, self.memory()),
            Self::A | Self::B => (POLICY, self.memory()),
        };
        let files = Files {
            sources: vec![("fixtures".into(), memory)],
            datasets: vec![
                ("views.team".into(), "-- owner: root\nSELECT id, salary FROM hr.emp WHERE id BETWEEN 1 AND 4".into()),
                ("views.pay".into(), "-- owner: root\nSELECT id, name, region, salary, ssn, bonus FROM hr.emp".into()),
            ],
            policy: BOOTSTRAP.into(),
            users: [("root", ""), ("ann", "region = \"EU\""), ("zoe", "")]
                .map(|(n, a)| (n.to_string(), a.to_string()))
                .into(),
            attributes: "region = \"text\"".into(),
            settings: "[engine]\npartitions = 1\n".into(),
            ..Files::default()
        };
        let gateway = Gateway::start(&files.with_lake()).await;
        let copy = |t: &str| format!("CREATE TABLE lake.{t} AS SELECT * FROM hr.{t}");
        // hidden rows stand in a file of their own, whose bounds and counts are theirs alone
        let hidden = format!("{} WHERE region <> 'EU' OR region IS NULL", copy("emp"));
        let rest = "INSERT INTO lake.emp SELECT * FROM hr.emp WHERE region = 'EU'";
        gateway.run("root", &["CREATE SCHEMA lake", &hidden, &copy("ghost"), &copy("dept")]).await;
        gateway.change_policy(&format!("{BOOTSTRAP}p, root, *, insert, allow\n")).await;
        gateway.run("root", &[rest]).await;
        gateway.change_policy(policy).await;
        gateway
    }

    fn memory(self) -> String {
        let confession = if self == Self::Copy { "" } else { "{ name = \"confession\", type = \"text\" }," };
        let columns = format!(
            "[{{ name = \"id\", type = \"int4\" }}, {{ name = \"name\", type = \"text\" }}, \
             {{ name = \"region\", type = \"text\" }}, {{ name = \"salary\", type = \"int4\" }}, \
             {{ name = \"secret\", type = \"text\" }}, {{ name = \"ssn\", type = \"text\" }}, \
             {{ name = \"bonus\", type = \"int4\" }}, {confession} {{ name = \"active\", type = \"bool\" }}]"
        );
        let cells = |rows: Vec<String>| {
            let rows = rows.iter().map(|r| row(r, self == Self::Copy));
            format!("[{}]", rows.collect::<Vec<_>>().join(", "))
        };
        let dept = [
            (1, "x", "S-111"),
            (2, "y", "Z-8"),
            (4, "z", "A-6"),
            (10, "u", "S-110"),
            (11, "v", "S-666"),
            (0, "w", "xxxx"),
        ];
        let dept = dept.map(|(id, title, guess)| format!("[{id}, \"{title}\", \"{guess}\"]")).join(", ");
        format!(
            "kind = \"memory\"\n[[table]]\nname = \"hr.emp\"\ncolumns = {columns}\nrows = {}\n\
             [[table]]\nname = \"hr.ghost\"\ncolumns = {columns}\nrows = {}\n\
             [[table]]\nname = \"hr.dept\"\ncolumns = [{{ name = \"id\", type = \"int4\" }}, \
             {{ name = \"title\", type = \"text\" }}, {{ name = \"guess\", type = \"text\" }}]\nrows = [{dept}]\n\
             [[table]]\nname = \"hidden.vault\"\ncolumns = [{{ name = \"id\", type = \"int4\" }}]\nrows = [[1]]\n",
            cells(self.rows()),
            cells(self.ghosts())
        )
    }
}

/// `(1, 'ada', NULL)` as a row of a memory source: TOML has no NULL, `{}` stands for it.
fn row(sql: &str, without_note: bool) -> String {
    let cells = sql.trim_matches(['(', ')']).split(", ").map(|c| match c {
        "NULL" => "{}".to_string(),
        text if text.starts_with('\'') => format!("\"{}\"", text.trim_matches('\'')),
        other => other.to_string(),
    });
    let mut cells: Vec<String> = cells.collect();
    if without_note {
        cells.remove(7);
    }
    format!("[{}]", cells.join(", "))
}

/// The same answer over both protocols' worth of text.
pub async fn both(gateway: &Gateway, user: &str, sql: &str) -> [String; 2] {
    let client = gateway.connect(user).await;
    [simple(&client, sql).await, extended(&client, sql).await]
}
