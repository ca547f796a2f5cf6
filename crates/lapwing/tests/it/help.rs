//! What the program says of itself, and the files that a newcomer meets first.

use crate::at_work::{Lapwing, program, stop};
use serde_json::json;
use std::path::Path;
use testkit::{Output, Program, Site, step::resp};

#[track_caller]
fn prints(program: &Program, arguments: &[&str]) -> Output {
    let output = program.run(arguments);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{arguments:?}: {output}");
    assert!(output.stdout.to_lowercase().contains("lapwing"), "{arguments:?}: {output}");
    output
}

#[test]
fn the_root_help_names_every_command_with_its_purpose_and_the_settings_that_all_share() {
    let program = program();
    for flag in ["--help", "-h", "help"] {
        let help = prints(&program, &[flag]).stdout;
        for (command, purpose) in [
            ("run", "Watch"),
            ("check", "Look once"),
            ("config", "Check, show, describe or begin"),
            ("db", "database"),
            ("completions", "shell"),
            ("man", "manual page"),
        ] {
            let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{command} ")));
            let line = line.unwrap_or_else(|| panic!("{command} is missing from\n{help}"));
            assert!(line.contains(purpose), "{line}");
        }
        for setting in
            ["-c, --config", "LAPWING_CONFIG", "lapwing.yaml", "--log-format", "-v", "-q", "RUST_LOG", "Exit codes"]
        {
            assert!(help.contains(setting), "{setting} is missing from\n{help}");
        }
    }
    prints(&program, &["--version"]);
}

#[test]
fn the_help_of_each_command_has_an_example() {
    for command in [
        &["run"][..],
        &["check"],
        &["config"],
        &["config", "check"],
        &["config", "show"],
        &["config", "schema"],
        &["config", "init"],
        &["db"],
        &["db", "migrate"],
        &["completions"],
        &["man"],
    ] {
        let help = prints(&program(), &[command, &["--help"]].concat()).stdout;
        let example = format!("\n  lapwing {}", command.join(" "));
        assert!(help.contains("Example") && help.contains(&example), "{command:?}: {help}");
    }
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        prints(&program(), &["completions", shell]);
    }
    let man = prints(&program(), &["man"]).stdout;
    assert!(man.contains(".TH lapwing"), "{man}");
}

#[test]
fn every_command_that_a_manual_page_refers_to_has_one() {
    let program = program();
    let output = program.run(&["man", "--folder", "."]);
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (0, "", ""), "{output}");
    for (page, refers_to) in
        [("lapwing", "run"), ("lapwing", "man"), ("lapwing-config", "check"), ("lapwing-dead", "replay")]
    {
        let page = program.read(&format!("{page}.1"));
        let other = format!("{refers_to}(1)");
        assert!(page.contains(&other), "{other} is missing from\n{page}");
    }
    for page in ["lapwing-run", "lapwing-man", "lapwing-config-check", "lapwing-dead-replay"] {
        assert!(program.read(&format!("{page}.1")).contains("SYNOPSIS"), "{page}");
    }
    let output = program.run(&["man", "--folder", "nowhere"]);
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("nowhere"), "{output}");
}

#[test]
fn config_schema_is_json_and_the_starter_file_is_a_good_configuration() {
    let program = program();
    let schema = program.run(&["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).unwrap();
    assert!(schema["properties"]["targets"].is_object(), "{schema}");
    let starter = program.run(&["config", "init", "--stdout"]);
    let output = program.run(&["config", "init"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{output}");
    assert_eq!(program.read("lapwing.yaml"), starter.stdout);
    assert_eq!(prints(&program, &["config", "check"]).code, 0);
    program.write("lapwing.yaml", "mine");
    let again = program.run(&["config", "init"]);
    assert_eq!(again.code, 2, "{again}");
    assert_eq!(program.read("lapwing.yaml"), "mine", "it is left as it is");
}

#[test]
fn config_show_prints_a_configuration_that_means_the_same() {
    let lapwing = Lapwing::with("defaults: {interval: 5s}\ntargets: ['http://127.0.0.1:1/']\n");
    let shown = lapwing.program.run(&["config", "show"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{shown}");
    lapwing.program.write("lapwing.yaml", &shown.stdout);
    assert_eq!(lapwing.program.run(&["config", "show"]).stdout, shown.stdout);
}

#[test]
fn db_migrate_makes_the_store_and_may_be_repeated() {
    let lapwing = Lapwing::with("data_dir: new\ntargets: []\n");
    for _ in 0..2 {
        let output = lapwing.program.run(&["db", "migrate"]);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output}");
        assert!(output.stdout.contains("lapwing.db"), "{output}");
    }
    assert!(lapwing.program.folder().join("new/lapwing.db").exists());
}

#[test]
fn lapwing_config_names_the_configuration() {
    let site = Site::serve([resp(200, "fine")]);
    let program = program().env("LAPWING_CONFIG", "elsewhere.yaml");
    program.write("elsewhere.yaml", format!("targets: [\"{}\"]", site.url("/")));
    let output = program.run(&["check", "--json"]);
    assert_eq!(output.json()[0]["verdict"], json!("up"), "{output}");
}

#[test]
fn the_sample_watches_itself_and_sees_itself_up() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lapwing.sample.yaml");
    let sample = std::fs::read_to_string(sample).unwrap();
    let lapwing = Lapwing::with("targets: []");
    let here = sample.replace("127.0.0.1:8080", &format!("127.0.0.1:{}", lapwing.port));
    assert_ne!(here, sample, "the sample listens on 127.0.0.1:8080");
    lapwing.program.write("lapwing.yaml", here);
    let running = lapwing.start();
    let results = lapwing.wait_for_results("lapwing", 1);
    assert_eq!((&results[0]["verdict"], &results[0]["status"]), (&json!("up"), &json!(200)));
    assert_eq!(results[0]["name"], "Lapwing");
    // Its other sites may be out of reach here; how that ends is not what this is about.
    let output = stop(running);
    assert_eq!(output.code, 0, "{output}");
}
