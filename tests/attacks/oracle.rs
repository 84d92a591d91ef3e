//! Three running worlds and the comparison of their answers. It knows no attack.

use tokio_postgres::Client;

use super::World;
use crate::gateway::{Gateway, extended, simple};

/// A, B and the copy, each with a connection of ann's.
pub struct Oracle {
    worlds: [(Gateway, Client); 3],
}

/// Which worlds an attack is compared over.
#[derive(Clone, Copy, PartialEq)]
pub enum Over {
    All,
    /// The copy has no denied column, so that a statement naming one is told otherwise there.
    AandB,
}

impl Oracle {
    pub async fn start() -> Self {
        let start = async |world: World| {
            let gateway = world.start().await;
            let client = gateway.connect("ann").await;
            (gateway, client)
        };
        let start = |world| Box::pin(start(world));
        let (a, b, copy) = tokio::join!(start(World::A), start(World::B), start(World::Copy));
        Self { worlds: [a, b, copy] }
    }

    /// The answer of world A over the simple protocol, or what is wrong with it. An answer breaks a session at most.
    pub async fn judge(&self, sql: &str, over: Over) -> Result<String, String> {
        let [(_, a), (_, b), (_, copy)] = &self.worlds;
        let both = async |client: &Client| [simple(client, sql).await, extended(client, sql).await].map(timeless);
        let (a, b) = (both(a).await, both(b).await);
        let copy = if over == Over::All { both(copy).await } else { a.clone() };
        if a != b || a != copy {
            return Err(format!("{sql}\n  A    {a:?}\n  B    {b:?}\n  copy {copy:?}"));
        }
        let hex = "CNRY".bytes().map(|b| format!("{b:02x}")).collect::<String>();
        for answer in &a {
            // a barrier is named where a plan is asked for
            let scan = answer.contains("PolicyScan") && !sql.contains("EXPLAIN");
            let plan = scan || ["Exec", ".parquet", "user.region"].iter().any(|word| answer.contains(word));
            if answer.contains("CNRY") || answer.contains(&hex) || plan || answer.starts_with("BROKEN") {
                return Err(format!("{sql}: {answer}"));
            }
        }
        let [plain, _] = a;
        Ok(plain)
    }

    /// Every statement over both kinds of table; the answers of world A. Fails with all that differ.
    pub async fn judge_all(&self, statements: impl IntoIterator<Item = String>, over: Over) -> Vec<(String, String)> {
        let (mut answers, mut differ) = (vec![], vec![]);
        for sql in statements {
            for schema in ["hr", "lake"] {
                let sql = fill(&sql, schema);
                match self.judge(&sql, over).await {
                    Ok(answer) => answers.push((sql, answer)),
                    Err(difference) => differ.push(difference),
                }
            }
        }
        assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
        answers
    }

    pub fn a(&self) -> &Gateway {
        &self.worlds[0].0
    }
}

/// An answer without the times of EXPLAIN, which differ from one run to the next.
fn timeless(answer: String) -> String {
    let clock = |word: &str| word.starts_with("time=") || word.starts_with("(time=");
    let line = |line: &str| match line.split_once(" Time: ").or_else(|| line.split_once(" Time\": ")) {
        Some((what, _)) => what.to_string(),
        None => line.split(' ').filter(|word| !clock(word)).collect::<Vec<_>>().join(" "),
    };
    answer.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// `{t}` is the restricted table, `{g}` one of which only hidden rows exist, `{d}` one that is granted in full.
pub fn fill(sql: &str, schema: &str) -> String {
    let [t, g, d] = ["emp", "ghost", "dept"].map(|n| format!("{schema}.{n}"));
    sql.replace("{t}", &t).replace("{g}", &g).replace("{d}", &d)
}
