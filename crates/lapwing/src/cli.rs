//! The command line: what can be typed, and the words that explain it.

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Watches websites: checks that can be trusted, results that are not lost.
#[derive(Debug, Parser)]
#[command(
    name = "lapwing",
    version,
    propagate_version = true,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "First steps:\n  lapwing check https://example.org/    look at one site, now\n  lapwing config init                   write a commented lapwing.yaml\n  lapwing run                           watch what it names\n\nExit codes: 0 fine; 1 `check` saw a target down or unknown; 2 wrong usage or configuration; 3 a failure at run time."
)]
pub struct Cli {
    #[command(flatten)]
    pub shared: Shared,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings of every command")]
pub struct Shared {
    /// The configuration [default: lapwing.yaml in the working directory]
    #[arg(short, long, global = true, env = "LAPWING_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// How log lines on stderr look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Say more: -v debug, -vv trace (RUST_LOG says it in detail)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Say less: -q only warnings, -qq only errors
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub quiet: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch: probe, queue, write, in one process with an embedded database
    #[command(
        after_help = "Example:\n  lapwing run -c lapwing.yaml --listen 127.0.0.1:8080\n\nSIGHUP, or a change of the file, reloads the configuration; SIGTERM ends it in good order."
    )]
    Run(RunArgs),
    /// The producer: watch, and send every result to Kafka
    #[command(
        after_help = "Example:\n  lapwing probe -c lapwing.yaml --listen 127.0.0.1:9464\n\nResults wait in a durable queue until the brokers have acknowledged them. Needs `kafka` in the configuration, no `store`."
    )]
    Probe(ProbeArgs),
    /// The consumer: store what Kafka brings in the database, exactly once
    #[command(
        after_help = "Example:\n  lapwing write -c lapwing.yaml --listen 127.0.0.1:9465\n\nSeveral writers share the partitions. Needs `kafka` in the configuration, no targets."
    )]
    Write(WriteArgs),
    /// Look once, now, at URLs or at the targets of the configuration
    #[command(
        after_help = "Examples:\n  lapwing check https://example.org/ --match 'Example Domain'\n  lapwing check -c lapwing.yaml --target shop-cart\n  lapwing check --json | jq -r '.target + \" \" + .verdict'"
    )]
    Check(Box<CheckArgs>),
    /// Check, show, describe or begin a configuration
    #[command(after_help = "Example:\n  lapwing config check -c lapwing.yaml")]
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look after the database
    #[command(after_help = "Example:\n  lapwing db migrate -c lapwing.yaml")]
    Db {
        #[command(subcommand)]
        command: DbCommand,
    },
    /// Look after dead letters: records that can't be stored
    #[command(after_help = "Example:\n  lapwing dead list -c lapwing.yaml --reason refused")]
    Dead {
        #[command(subcommand)]
        command: DeadCommand,
    },
    /// Print completions for a shell
    #[command(after_help = "Example:\n  lapwing completions bash > /etc/bash_completion.d/lapwing")]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or write that of every command
    #[command(after_help = "Examples:\n  lapwing man > lapwing.1\n  lapwing man --folder /usr/local/share/man/man1")]
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Where health, readiness and metrics are served, instead of `web.listen`
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Refuse to change the database's schema
    #[arg(long)]
    pub no_migrate: bool,
}

#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Where health, readiness and metrics are served, instead of `metrics.listen`
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
}

#[derive(Debug, Args)]
pub struct WriteArgs {
    /// Where health, readiness and metrics are served, instead of `metrics.listen`
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Refuse to change the database's schema
    #[arg(long)]
    pub no_migrate: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// What to look at, instead of the configuration's targets
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub urls: Vec<String>,
    /// Only this target of the configuration (repeatable)
    #[arg(long, value_name = "ID", conflicts_with = "urls")]
    pub target: Vec<String>,
    /// One result record a line, in the order given
    #[arg(long)]
    pub json: bool,
    /// Of one attempt, all phases, like 5s or 800ms
    #[arg(long, value_name = "DURATION", requires = "urls")]
    pub timeout: Option<String>,
    /// What status is fine, like 200-299 (repeatable)
    #[arg(long, value_name = "CODES", requires = "urls")]
    pub status: Vec<String>,
    /// A pattern that the body must match (repeatable)
    #[arg(long = "match", value_name = "REGEX", requires = "urls")]
    pub matches: Vec<String>,
    /// A pattern that the body must not match (repeatable)
    #[arg(long = "not-match", value_name = "REGEX", requires = "urls")]
    pub not_matches: Vec<String>,
    /// A header to send (repeatable)
    #[arg(long, value_name = "'K: V'", requires = "urls")]
    pub header: Vec<String>,
    /// The request's method [default: GET]
    #[arg(long, value_name = "M", requires = "urls")]
    pub method: Option<String>,
    /// Don't verify the certificate
    #[arg(long, requires = "urls")]
    pub insecure: bool,
    /// Trust the certificates of this file instead of the system's
    #[arg(long, value_name = "FILE", requires = "urls", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// Ask this resolver for names
    #[arg(long, value_name = "IP:PORT", requires = "urls")]
    pub resolver: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Name every mistake at once, with its file and line
    #[command(after_help = "Example:\n  lapwing config check -c lapwing.yaml && systemctl reload lapwing")]
    Check,
    /// Print the effective configuration, secrets hidden
    #[command(after_help = "Example:\n  lapwing config show -c lapwing.yaml")]
    Show,
    /// Print the JSON Schema, for editors; or that of the results, for those who read them
    #[command(
        after_help = "Examples:\n  lapwing config schema > lapwing.schema.json\n  lapwing config schema --record > record.schema.json\n  lapwing config schema --asyncapi > lapwing.asyncapi.json"
    )]
    Schema(SchemaArgs),
    /// Write a commented starter file
    #[command(after_help = "Example:\n  lapwing config init -c lapwing.yaml")]
    Init(InitArgs),
}

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The JSON Schema of a result record instead: a line of `check --json`, a message of the topic
    #[arg(long)]
    pub record: bool,
    /// The AsyncAPI document of the topics instead: keys, headers, records
    #[arg(long, conflicts_with = "record")]
    pub asyncapi: bool,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Print it instead
    #[arg(long)]
    pub stdout: bool,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write lapwing.1, lapwing-run.1 and all the others into this folder instead
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub folder: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// Show which letters wait, and why
    #[command(
        after_help = "Examples:\n  lapwing dead list -c lapwing.yaml --target shop-cart\n  lapwing dead list --older-than 7d --all --json"
    )]
    List(DeadListArgs),
    /// Show a letter: the record, what is wrong with it, where it came from
    #[command(after_help = "Example:\n  lapwing dead show -c lapwing.yaml 4711")]
    Show(DeadShowArgs),
    /// Make letters due: a writer tries to store them again, which doubles nothing
    #[command(
        after_help = "Examples:\n  lapwing dead replay -c lapwing.yaml 4711 4712\n  lapwing dead replay --reason refused --dry-run"
    )]
    Replay(DeadReplayArgs),
    /// Delete letters for good
    #[command(
        after_help = "Examples:\n  lapwing dead purge -c lapwing.yaml --resolved\n  lapwing dead purge --older-than 90d"
    )]
    Purge(DeadPurgeArgs),
}

#[derive(Debug, Args)]
pub struct DeadListArgs {
    /// not_json, not_a_result, newer_version or refused
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Of this target: by the key that the record came with
    #[arg(long, value_name = "ID")]
    pub target: Option<String>,
    /// Failed longer ago than this, like 7d
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<String>,
    /// Also those that are resolved
    #[arg(long)]
    pub all: bool,
    /// An object a line, with the table's columns
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DeadShowArgs {
    /// The letter's number
    pub id: i64,
    /// An object, with the table's columns
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DeadReplayArgs {
    /// These letters
    #[arg(value_name = "ID")]
    pub ids: Vec<i64>,
    /// Those with this reason
    #[arg(long, value_name = "REASON", conflicts_with_all = ["ids", "all"])]
    pub reason: Option<String>,
    /// All that wait
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// Say which ones, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// An object a line: the letters that are due now
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DeadPurgeArgs {
    /// These letters
    #[arg(value_name = "ID", conflicts_with_all = ["older_than", "resolved"])]
    pub ids: Vec<i64>,
    /// Those that failed longer ago than this, like 90d
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<String>,
    /// Those that are resolved
    #[arg(long)]
    pub resolved: bool,
    /// An object a line: the letters that were deleted
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Make the database, or bring its schema up to this version
    #[command(after_help = "Example:\n  lapwing db migrate -c lapwing.yaml")]
    Migrate,
    /// Show what the database holds: sizes, days, offsets and lag, dead letters
    #[command(after_help = "Example:\n  lapwing db status -c lapwing.yaml")]
    Status(StatusArgs),
    /// Keep what retention says now: what is older goes
    #[command(
        after_help = "Examples:\n  lapwing db prune -c lapwing.yaml --dry-run\n  lapwing db prune -c lapwing.yaml\n\nA writer at work does the same by itself, where it owns the tables. Nobody who reads or writes is held up."
    )]
    Prune(PruneArgs),
    /// Show how far each partition is stored, or say where reading goes on
    #[command(
        after_help = "Examples:\n  lapwing db offsets -c lapwing.yaml\n  lapwing db offsets -c lapwing.yaml --set 0=earliest --set 1=4711\n\nWriters at work take a new offset over by themselves. Reading records again doubles nothing; passing over some loses them."
    )]
    Offsets(OffsetsArgs),
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// One object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct OffsetsArgs {
    /// Where to go on in a partition: a number, `earliest` or `latest`; `all=` is every partition (repeatable)
    #[arg(long, value_name = "PARTITION=OFFSET")]
    pub set: Vec<String>,
    /// Don't ask
    #[arg(long, requires = "set")]
    pub yes: bool,
    /// An object a line
    #[arg(long, conflicts_with = "set")]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_in_its_help() {
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
                let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("lapwing"), "{} has no example", sub.get_name());
                check(sub);
            }
        }
        check(&Cli::command());
    }
}
