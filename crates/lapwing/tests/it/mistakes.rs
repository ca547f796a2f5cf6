//! Wrong configuration and wrong usage: every mistake at once on stderr, exit code 2, nothing started.

use crate::at_work::{LIMIT, Lapwing, program};
use testkit::{Output, Program, Site, pki, step::resp};

/// Exit code 2, nothing on stdout, every one of the texts on stderr, and no database made.
#[track_caller]
fn refused(program: &Program, arguments: &[&str], texts: &[&str]) -> Output {
    let output = program.run(arguments);
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{arguments:?}: {output}");
    for text in texts {
        assert!(output.stderr.contains(text), "{arguments:?}: {text:?} is not on stderr: {output}");
    }
    assert!(!output.stderr.contains("panicked"), "{output}");
    for file in std::fs::read_dir(program.folder()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(!name.contains(".db"), "{arguments:?} has made {name}");
    }
    output
}

const COMMANDS: [&[&str]; 5] =
    [&["run"], &["check"], &["check", "--json"], &["config", "check"], &["check", "http://127.0.0.1:1/"]];

#[test]
fn every_mistake_is_named_with_its_line_by_every_command_and_nothing_is_started() {
    let site = Site::serve([resp(200, "fine")]);
    let lapwing = Lapwing::with(&format!(
        "intervall: 5s\n\
         targets:\n\
         - {{url: \"{}\", id: asked, interval: 1s}}\n\
         - {{url: \"ftp://127.0.0.1/\", id: other}}\n\
         - {{url: \"http://127.0.0.1:1/\", id: x, timeout: 5 bananas}}\n\
         - {{url: \"http://127.0.0.1:1/\", id: y, expect: {{body: \"(\"}}}}\n",
        site.url("/")
    ));
    for arguments in COMMANDS {
        let output = refused(
            &lapwing.program,
            arguments,
            &[
                "lapwing.yaml:3: intervall",
                "interval",
                "lapwing.yaml:6: targets[1].url",
                "lapwing.yaml:7: targets[2].timeout",
                "5 bananas",
                "lapwing.yaml:8: targets[3].expect.body",
            ],
        );
        assert_eq!(output.stderr.lines().filter(|line| line.starts_with("lapwing.yaml:")).count(), 4, "{output}");
    }
    assert_eq!(site.connections(), 0);
}

#[test]
fn more_checks_at_once_than_there_can_be_open_files_for_are_refused_with_the_numbers() {
    let program = program().open_files(128);
    program.write("lapwing.yaml", "probe: {concurrency: 500}\ntargets: []");
    let texts = ["lapwing.yaml: probe.concurrency: 500 ", "1064 open files", "may have 128", "at most 32"];
    refused(&program, &["run"], &texts);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let program = program();
    for command in ["run", "check"] {
        refused(&program, &[command], &["lapwing.yaml"]);
        refused(&program, &[command, "-c", "other.yaml"], &["other.yaml"]);
    }
    refused(&program, &["check", "-c", "other.yaml", "http://127.0.0.1:1/"], &["other.yaml"]);
}

#[test]
fn an_empty_file_is_a_mistake_and_an_empty_list_of_targets_is_none() {
    let program = program();
    program.write("lapwing.yaml", "");
    for arguments in COMMANDS {
        refused(&program, arguments, &["lapwing.yaml"]);
    }
    program.write("lapwing.yaml", "targets: []\n");
    assert_eq!(program.run(&["config", "check"]).code, 0);
    assert_eq!(program.run(&["check"]).code, 0);
}

#[test]
fn a_key_that_does_not_fit_its_certificate_is_a_mistake_at_the_start() {
    let tls = "{cert_file: client.pem, key_file: good.key}";
    let lapwing = Lapwing::with(&format!("targets: [{{url: \"https://127.0.0.1:1/\", request: {{tls: {tls}}}}}]"));
    pki().write(lapwing.program.folder());
    for command in ["run", "check"] {
        refused(&lapwing.program, &[command], &["lapwing.yaml", "key"]);
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_how_it_is_meant() {
    let program = program();
    program.write("lapwing.yaml", "targets: [{url: 'http://127.0.0.1:1/', id: known}]");
    refused(&program, &["run", "--listen", "nonsense"], &["--listen", "nonsense"]);
    refused(&program, &["run", "--lisen", "127.0.0.1:1"], &["--listen"]);
    refused(&program, &["frobnicate"], &["frobnicate"]);
    refused(&program, &["check", "--target", "known", "--target", "typo", "--target", "other"], &["typo", "other"]);
    refused(&program, &["check", "--target", "known", "http://127.0.0.1:1/"], &["--target"]);
    refused(&program, &["check", "--timeout", "5s"], &["URL"]);
    refused(&program, &["check", "http://127.0.0.1:1/", "--header", "nocolon"], &["--header", "nocolon"]);
    refused(&program, &["check", "http://127.0.0.1:1/", "--match", "("], &["--match"]);
    refused(&program, &["check", "http://127.0.0.1:1/", "--ca-file", "gone.pem"], &["--ca-file", "gone.pem"]);
    refused(&program, &["check", "http://127.0.0.1:1/", "--status", "299-200"], &["--status", "299-200"]);
}

#[test]
fn without_a_command_the_help_is_shown() {
    let output = program().spawn(&[]).wait(LIMIT);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("Usage: lapwing"), "{output}");
}
