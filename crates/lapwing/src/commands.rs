//! The commands that do one small thing and end.

use crate::{
    cli::{Cli, InitArgs, ManArgs, SchemaArgs, Shared},
    exit::{self, Exit},
    reload::Source,
};
use anyhow::Context;
use clap::CommandFactory;
use config::Environment;
use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    path::Path,
    process::ExitCode,
};

type Done = Result<ExitCode, Exit>;

pub fn config_check(shared: &Shared) -> Done {
    let source = Source::of(shared);
    let config = source.load().map_err(Exit::usage)?;
    exit::print(&format!("{}: fine, {} targets\n", source.path.display(), config.targets.len()))?;
    Ok(ExitCode::SUCCESS)
}

pub fn config_show(shared: &Shared) -> Done {
    let parsed = config::parse(&Source::of(shared).path, &Environment::of_process()).map_err(Exit::usage)?;
    exit::print(&config::show(&parsed))?;
    Ok(ExitCode::SUCCESS)
}

pub fn config_schema(args: &SchemaArgs) -> Done {
    let schema = match args {
        SchemaArgs { record: true, .. } => bus::record::schema(),
        SchemaArgs { asyncapi: true, .. } => bus::record::asyncapi(),
        SchemaArgs { .. } => config::schema(),
    };
    let schema = serde_json::to_string_pretty(&schema).context("write the schema")?;
    exit::print(&format!("{schema}\n"))?;
    Ok(ExitCode::SUCCESS)
}

pub fn config_init(shared: &Shared, args: &InitArgs) -> Done {
    if args.stdout {
        exit::print(config::starter())?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = Source::of(shared).path;
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => {
            Exit::usage(format!("{}: there is one already; it is left as it is", path.display()))
        }
        _ => Exit::failure(format!("{}: can't be written: {e}", path.display())),
    })?;
    file.write_all(config::starter().as_bytes()).with_context(|| format!("write {}", path.display()))?;
    exit::tell(&format!("{} is written; edit it, then: lapwing run -c {}", path.display(), path.display()));
    Ok(ExitCode::SUCCESS)
}

pub fn completions(shell: clap_complete::Shell) -> Done {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lapwing", &mut text);
    exit::print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

pub fn man(args: &ManArgs) -> Done {
    if let Some(folder) = &args.folder {
        let mut all = Cli::command().disable_help_subcommand(true);
        all.build();
        pages(all, folder).with_context(|| format!("write the manual pages into {}", folder.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text).context("write the manual page")?;
    exit::print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

/// The page of a command, and those of the commands below it.
fn pages(command: clap::Command, folder: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands() {
        pages(below.clone(), folder)?;
    }
    let page = clap_mangen::Man::new(command).source(concat!("lapwing ", env!("CARGO_PKG_VERSION")));
    page.generate_to(folder).map(drop)
}
