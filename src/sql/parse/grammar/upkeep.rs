//! LockStmt, VacuumStmt, AnalyzeStmt, ReindexStmt, ClusterStmt and CheckPointStmt of gram.y.

use datafusion::sql::sqlparser::ast::{ObjectName, TableFactor};

use super::super::copy::{CopyOption, OptionValue};
use super::super::upkeep::{Columns, Target, Upkeep};
use super::Parser;
use crate::error::{Error, Kind, Result};

/// The words that these begin with.
pub(in crate::sql::parse) const UPKEEP: [&str; 7] =
    ["analyse", "analyze", "checkpoint", "cluster", "lock", "reindex", "vacuum"];

const VACUUM_OPTIONS: [&str; 10] = [
    "analyze",
    "disable_page_skipping",
    "freeze",
    "full",
    "index_cleanup",
    "parallel",
    "process_toast",
    "skip_locked",
    "truncate",
    "verbose",
];
const ANALYZE_OPTIONS: [&str; 2] = ["skip_locked", "verbose"];
const REINDEX_OPTIONS: [&str; 3] = ["concurrently", "tablespace", "verbose"];
const CLUSTER_OPTIONS: [&str; 1] = ["verbose"];

impl Parser<'_> {
    pub(in crate::sql::parse) fn upkeep(&mut self) -> Result<Upkeep> {
        let word = self.word(0);
        self.advance();
        match word {
            Some("lock") => self.lock(),
            Some("vacuum") => self.vacuum(),
            Some("analyze" | "analyse") => {
                if self.is_symbol('(') {
                    self.upkeep_options("ANALYZE", &ANALYZE_OPTIONS)?;
                } else {
                    self.eat("verbose");
                }
                self.vacuumed().map(Upkeep::Analyze)
            }
            Some("reindex") => self.reindex(),
            Some("cluster") => self.cluster(),
            _ => Ok(Upkeep::Checkpoint),
        }
    }

    fn lock(&mut self) -> Result<Upkeep> {
        self.eat("table");
        let tables = self.list(|parser| match parser.relation()? {
            TableFactor::Table { name, .. } => Ok(name),
            _ => Err(parser.unexpected()),
        })?;
        if self.eat("in") {
            match self.word(0) {
                Some("access" | "row") => {
                    self.advance();
                    if !self.eat("share") {
                        self.expect("exclusive")?;
                    }
                }
                Some("share") => {
                    self.advance();
                    if self.eat("update") || self.eat("row") {
                        self.expect("exclusive")?;
                    }
                }
                _ => self.expect("exclusive")?,
            }
            self.expect("mode")?;
        }
        self.eat("nowait");
        Ok(Upkeep::Lock(tables))
    }

    fn vacuum(&mut self) -> Result<Upkeep> {
        if self.is_symbol('(') {
            let options = self.upkeep_options("VACUUM", &VACUUM_OPTIONS)?;
            let analyze = options.iter().any(|option| option.name == "analyze" && is_on(&option.value));
            return Ok(Upkeep::Vacuum { analyze, tables: self.vacuumed()? });
        }
        self.eat("full");
        self.eat("freeze");
        self.eat("verbose");
        let analyze = self.eat("analyze") || self.eat("analyse");
        Ok(Upkeep::Vacuum { analyze, tables: self.vacuumed()? })
    }

    /// opt_vacuum_relation_list.
    fn vacuumed(&mut self) -> Result<Vec<Columns>> {
        if self.ends() {
            return Ok(vec![]);
        }
        self.list(|parser| {
            let table = parser.qualified_name()?;
            let columns = if parser.is_symbol('(') { parser.name_list()? } else { vec![] };
            Ok(Columns { table, columns })
        })
    }

    fn reindex(&mut self) -> Result<Upkeep> {
        let mut concurrently = false;
        if self.is_symbol('(') {
            let options = self.upkeep_options("REINDEX", &REINDEX_OPTIONS)?;
            concurrently = options.iter().any(|option| option.name == "concurrently" && is_on(&option.value));
        }
        let what = match self.word(0) {
            Some(what @ ("index" | "table" | "schema" | "database" | "system")) => what,
            _ => return Err(self.unexpected()),
        };
        self.advance();
        concurrently |= self.eat("concurrently");
        let target = match what {
            "index" => Target::Index(self.qualified_name()?),
            "table" => Target::Table(self.qualified_name()?),
            "schema" => Target::Schema(self.column_name()?),
            "database" => Target::Database(self.column_name()?),
            _ => Target::System(self.column_name()?),
        };
        Ok(Upkeep::Reindex { target, concurrently })
    }

    fn cluster(&mut self) -> Result<Upkeep> {
        if self.is_symbol('(') {
            self.upkeep_options("CLUSTER", &CLUSTER_OPTIONS)?;
        } else {
            self.eat("verbose");
        }
        if self.ends() {
            return Ok(Upkeep::Cluster(None));
        }
        let first: ObjectName = self.qualified_name()?;
        let index = if self.eat("using") { Some(self.column_name()?) } else { None };
        Ok(Upkeep::Cluster(Some((first, index))))
    }

    /// utility_option_list, each of them one that the statement has.
    fn upkeep_options(&mut self, statement: &str, known: &[&str]) -> Result<Vec<CopyOption>> {
        self.expect_symbol('(')?;
        let options = self.list(Self::copy_option)?;
        self.expect_symbol(')')?;
        // `analyse` is another spelling
        let is_known = |name: &str| known.contains(&name) || (name == "analyse" && known.contains(&"analyze"));
        if let Some(option) = options.iter().find(|option| !is_known(&option.name)) {
            let text = format!("unrecognized {statement} option \"{}\"", option.name);
            return Err(Error::new(Kind::Syntax, text).at(option.at));
        }
        Ok(options)
    }
}

/// As a Boolean option that is given without a value.
fn is_on(value: &OptionValue) -> bool {
    match value {
        OptionValue::Text(word) | OptionValue::Number(word) => {
            !matches!(word.to_ascii_lowercase().as_str(), "false" | "off" | "0")
        }
        OptionValue::Missing | OptionValue::Star | OptionValue::List(_) => true,
    }
}
