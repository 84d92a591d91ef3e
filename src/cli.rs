//! The words of the command line. It reads arguments and does nothing with them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lakegate::demo::guardian;

const EXAMPLES: &str = "\
Try it:
  lakegate demo                                a running lakegate with sample data; prints how to connect
  lakegate demo --data-dir /tmp/shop           the same, with its files where you can edit them

Run it:
  lakegate check --config lakegate.toml        everything `serve` would load, nothing started
  lakegate serve --config lakegate.toml
  lakegate serve --print-config                what is true after defaults and environment, secrets redacted

Fill the lake:
  lakegate ingest                              the pipelines alone, where `serve` should not run them
  lakegate ingest status                       how far each of them is, and what is wrong
  lakegate topic infer events.orders           declares a topic as a table, by its registry or its records

Look after the lake:
  lakegate lake check sales.orders             whether its metadata, files and rows agree

Who sees what:
  lakegate policy user add alice               asks for a password, keeps only its verifier
  lakegate policy explain alice crm.customers  which lines decide, and what they leave
  lakegate policy matrix                       every user, table and column
  lakegate policy check                        faults and doubts in policies/
  lakegate policy accept-columns crm.customers shows what was added to it to those whom a line restricts there

lakegate.toml names two directories: catalog/ says what exists, policies/ says who may see it. Both are read again when
a file in them changes. Environment: LAKEGATE_CONFIG, LAKEGATE_CATALOG_DIR, LAKEGATE_POLICIES_DIR,
LAKEGATE_METASTORE_PATH, LAKEGATE_KEY, LAKEGATE_HTTP_TOKEN.";

/// One PostgreSQL endpoint over a company's lake, streams and databases; policy files decide who sees what.
#[derive(Debug, Parser)]
#[command(name = "lakegate", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, env = "LAKEGATE_CONFIG", default_value = "lakegate.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// Print the settled configuration, secrets redacted, and do nothing else.
    #[arg(long, global = true)]
    pub(crate) print_config: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve until SIGTERM or Ctrl-C; a second one does not wait for running statements.
    Serve,
    /// Sample data in Iceberg, Kafka and PostgreSQL, three users, and a server over them. Ctrl-C ends all of it.
    Demo(Demo),
    /// Waits for its standard input to end and then cleans up after a demo that was killed.
    #[command(hide = true, name = guardian::ARGUMENT)]
    DemoGuardian,
    /// Load everything `serve` would load, start nothing. Exit code 0 or 1.
    Check,
    /// Run the pipelines of catalog/pipelines/ without serving statements. Any number of processes may: each table is
    /// written by one, the others wait to take over.
    Ingest(Ingest),
    /// Questions about the lake.
    #[command(subcommand)]
    Lake(Lake),
    /// Topics as tables.
    #[command(subcommand)]
    Topic(Topic),
    /// Questions about policies.
    #[command(subcommand)]
    Policy(Policy),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Topic {
    /// Writes a topic's declaration into its source's file: columns by the registry, or as the newest records look.
    Infer {
        /// `source.table`, the source by its file's name.
        #[arg(value_name = "SOURCE.TABLE")]
        table: String,
        /// The topic's name in Kafka, where that is not the table's.
        #[arg(long)]
        topic: Option<String>,
        /// Show what would be written.
        #[arg(long)]
        print: bool,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Lake {
    /// Look a table over: metadata, files, deletes, row ids, keys. A line for each fault; exit code 1 where there is one.
    Check {
        /// `schema.table`
        table: String,
    },
}

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Ingest {
    /// Address of an HTTP door: /healthz, /readyz, /metrics.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http_listen: Option<SocketAddr>,

    #[command(subcommand)]
    pub(crate) command: Option<IngestCommand>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum IngestCommand {
    /// State, position, end, lag, last commit and error of every pipeline. Exit code 1 where one has an error.
    Status,
    /// Rest: what was read is committed, and the origin keeps what comes.
    Pause { pipeline: String },
    /// Go on after a pause; with --from in spite of a gap: a topic that was made anew or cut below the position, a slot that is
    /// lost, a table that was set back.
    Resume {
        pipeline: String,
        /// Where to go on.
        #[arg(long, value_enum)]
        from: Option<End>,
    },
    /// Have a pipeline that reads a table at times look at it now.
    Run { pipeline: String },
    /// Take everything in anew: the tables are emptied, a database's are copied again, topics are read from their first record.
    Resync { pipeline: String },
    /// Take in again what was set aside and fits the columns by now; the rest stays in __dlq. A pipeline that keeps
    /// current rows must be paused; others may run meanwhile.
    Replay { pipeline: String },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum End {
    /// With everything the topic still has.
    Earliest,
    /// With what comes from now on.
    Latest,
    /// Where the rows in the table end: what was set back comes again.
    Snapshot,
    /// Where the pipeline was: what was set back stays away.
    Property,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Demo {
    /// Where the demo's files go: a new or empty directory, or one an earlier demo made; rebuilt at each start. A
    /// temporary one where absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Port of the PostgreSQL door on 127.0.0.1.
    #[arg(long, default_value_t = 5433, value_name = "PORT")]
    pub(crate) pg_port: u16,

    /// Port of the HTTP door on 127.0.0.1: /healthz, /readyz, /metrics.
    #[arg(long, default_value_t = 8433, value_name = "PORT")]
    pub(crate) http_port: u16,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Faults and doubts. Exit code 1 for faults, 2 for doubts with --strict.
    Check {
        /// The directory of the policy files; the configuration's where absent.
        dir: Option<PathBuf>,
        /// Read the files alone: no configuration, no catalog, names are not bound.
        #[arg(long)]
        offline: bool,
        #[arg(long)]
        strict: bool,
        /// Have Casbin decide every question too, however long it takes; otherwise a sample.
        #[arg(long, conflicts_with = "offline")]
        whole: bool,
    },
    /// What a user may see of a table or column, and which lines say so.
    Explain {
        user: String,
        /// `schema.table`, `schema.table/column` or `source:name`.
        table: String,
        /// Ask Casbin the same and compare. Exit code 3 where they differ.
        #[arg(long)]
        verify: bool,
    },
    /// Every user, table and column as text.
    Matrix,
    /// Make the columns known that were added to restricted tables: until then they are hidden from whoever a filter, a
    /// mask or a denied column restricts there, unless a line names them. A running server follows within a second.
    AcceptColumns {
        /// `schema.table`; every restricted table where absent.
        table: Option<String>,
    },
    /// Users.
    #[command(subcommand)]
    User(User),
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Add a user to policies/users.toml. The password is asked for, or read from standard input where that is not a
    /// terminal; only its verifier is kept.
    Add { name: String },
}
