//! A program that is run and watched; the shell stands for it.

use crate::client::LIMIT;
use std::time::{Duration, Instant};
use testkit::{Program, Signal, until};

fn shell() -> Program {
    Program::new("/bin/sh")
}

/// What a failing test would print.
fn failure(test: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(test).expect_err("it should have failed");
    panic.downcast::<String>().map_or_else(|_| String::new(), |text| *text)
}

#[test]
fn a_run_brings_code_and_both_outputs() {
    let output = shell().run(&["-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (3, "out\n", "err\n"));
}

#[test]
fn more_output_than_a_pipe_holds_is_no_dead_end() {
    let output = shell().run(&["-c", "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero"]);
    assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 300_000));
}

#[test]
fn it_works_in_a_folder_of_its_own_with_a_bare_environment() {
    let program = shell().env("ADDED", "yes");
    program.write("deep/er/file.txt", "content");
    let output =
        program.run(&["-c", "pwd; echo $HOME; cat deep/er/file.txt; echo; env | cut -d= -f1 | sort | tr '\\n' ' '"]);
    let folder = program.folder().to_str().unwrap();
    assert!(output.stdout.starts_with(&format!("{folder}\n{folder}\ncontent\n")), "{output}");
    for (name, there) in [("ADDED", true), ("PATH", true), ("CARGO_MANIFEST_DIR", false), ("USER", false)] {
        assert_eq!(output.stdout.contains(name), there, "{output}");
    }
    assert_eq!(program.read("deep/er/file.txt"), "content");
    let folder = program.folder().to_owned();
    drop(program);
    assert!(!folder.exists());
}

#[test]
fn stdin_is_empty() {
    assert_eq!(shell().run(&["-c", "cat; echo end"]).stdout, "end\n");
}

#[test]
fn lines_of_json_are_read() {
    let output = shell().run(&["-c", r#"echo '{"a":1}'; echo '[2]'"#]);
    assert_eq!(output.json(), [serde_json::json!({"a": 1}), serde_json::json!([2])]);
    let text = failure(|| {
        shell().run(&["-c", "echo '{}'; echo no; echo why >&2"]).json();
    });
    assert!(text.contains("\"no\"") && text.contains("why"), "{text}");
}

#[test]
fn a_run_that_does_not_end_is_killed_and_shows_what_it_said() {
    let text = failure(|| {
        shell().spawn(&["-c", "echo said; echo sworn >&2; exec sleep 60"]).wait(Duration::from_millis(200));
    });
    assert!(text.contains("did not end") && text.contains("said") && text.contains("sworn"), "{text}");
}

#[test]
fn lines_are_waited_for_in_both_outputs() {
    let running =
        shell().spawn(&["-c", "echo one; sleep 0.05; echo two >&2; sleep 0.05; echo 'one more'; exec sleep 60"]);
    assert_eq!(running.wait_for_line(LIMIT, |l| l.starts_with("two")), "two");
    assert_eq!(running.wait_for_lines(2, LIMIT, |l| l.starts_with("one")), ["one", "one more"]);
    assert_eq!((running.stdout().as_str(), running.stderr().as_str()), ("one\none more\n", "two\n"));
}

#[test]
fn a_line_that_never_comes_fails_the_test_with_the_outputs() {
    let text = failure(|| drop(shell().spawn(&["-c", "echo said; exit 1"]).wait_for_line(LIMIT, |l| l == "other")));
    assert!(text.contains("the program ended") && text.contains("said"), "{text}");
    let limit = Duration::from_millis(100);
    let text = failure(move || {
        shell().spawn(&["-c", "printf half; exec sleep 60"]).wait_for_line(limit, |l| l == "half");
    });
    assert!(text.contains("not within 100ms") && text.contains("half"), "{text}");
}

#[test]
fn signals_arrive() {
    let mut running = shell()
        .spawn(&["-c", "trap 'echo hup' HUP; trap 'echo term; exit 5' TERM; echo ready; while :; do sleep 0.01; done"]);
    running.wait_for_line(LIMIT, |l| l == "ready");
    running.signal(Signal::HUP);
    running.wait_for_line(LIMIT, |l| l == "hup");
    running.signal(Signal::STOP);
    let state = format!("/proc/{}/stat", running.pid());
    let stopped = || std::fs::read_to_string(&state).unwrap().contains(") T ");
    assert!(stopped());
    running.signal(Signal::CONT);
    until("it goes on", LIMIT, || !stopped());
    running.signal(Signal::TERM);
    let output = running.wait(LIMIT);
    assert_eq!((output.code, output.stdout.as_str()), (5, "ready\nhup\nterm\n"));
}

#[test]
fn a_killed_program_leaves_what_it_said() {
    let running = shell().spawn(&["-c", "echo said; exec sleep 60"]);
    running.wait_for_line(LIMIT, |l| l == "said");
    let output = running.kill9();
    assert_eq!((output.code, output.stdout.as_str()), (-9, "said\n"));
}

#[test]
fn a_signal_to_a_program_that_has_ended_goes_nowhere() {
    let mut running = shell().spawn(&["-c", "exit 4"]);
    until("it ends", LIMIT, || !running.lives());
    running.signal(Signal::TERM);
    assert_eq!(running.wait(LIMIT).code, 4);
}

#[test]
fn dropping_kills() {
    let started = Instant::now();
    let running = shell().spawn(&["-c", "exec sleep 60"]);
    let process = format!("/proc/{}", running.pid());
    assert!(std::path::Path::new(&process).exists());
    drop(running);
    assert!(!std::path::Path::new(&process).exists());
    assert!(started.elapsed() < LIMIT);
}

#[test]
fn descriptors_are_limited() {
    let output = shell().open_files(17).run(&["-c", "ulimit -n"]);
    assert_eq!(output.stdout, "17\n");
}

#[test]
fn memory_and_writing_are_told() {
    // A temporary folder may be in memory, the target folder is on a disk.
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = disk.path().join("file");
    let script = "printf '%100000s' x > \"$0\"; echo ready; while :; do sleep 0.01; done";
    let running = shell().spawn(&["-c", script, file.to_str().unwrap()]);
    running.wait_for_line(LIMIT, |l| l == "ready");
    assert!(running.peak_memory_kib() > 100);
    assert!(running.bytes_written() >= 100_000);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let text = failure(|| drop(Program::new("/no/such/program").spawn(&[])));
    assert!(text.contains("/no/such/program"), "{text}");
}
