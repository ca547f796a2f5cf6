//! The binary: reads what is wanted, runs it, says how it ended.

mod admin;
mod changes;
mod check;
mod checker;
mod cli;
mod clock;
mod commands;
mod copies;
mod db;
mod dead;
mod descriptors;
mod exit;
mod keeper;
mod letters;
mod listen;
mod logging;
mod metrics;
mod offsets;
mod opening;
mod ready;
mod reload;
mod report;
mod run;
mod stages;
mod stop;
mod watch;
mod writer;

use clap::Parser;
use cli::{Cli, Command, ConfigCommand, DbCommand};
use exit::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return exit::instead(&e),
    };
    logging::start(&cli.shared);
    descriptors::raise();
    let done = match &cli.command {
        Command::Run(args) => run::run(&cli.shared, args),
        Command::Probe(args) => run::probe(&cli.shared, args),
        Command::Write(args) => run::write(&cli.shared, args),
        Command::Check(args) => check::check(&cli.shared, args),
        Command::Config { command } => match command {
            ConfigCommand::Check => commands::config_check(&cli.shared),
            ConfigCommand::Show => commands::config_show(&cli.shared),
            ConfigCommand::Schema(args) => commands::config_schema(args),
            ConfigCommand::Init(args) => commands::config_init(&cli.shared, args),
        },
        Command::Db { command } => match command {
            DbCommand::Migrate => db::migrate(&cli.shared),
            DbCommand::Status(args) => db::status(&cli.shared, args),
            DbCommand::Prune(args) => db::prune(&cli.shared, args),
            DbCommand::Offsets(args) => offsets::db_offsets(&cli.shared, args),
        },
        Command::Dead { command } => dead::dead(&cli.shared, command),
        Command::Completions { shell } => commands::completions(*shell),
        Command::Man(args) => commands::man(args),
    };
    done.unwrap_or_else(Exit::tell)
}
