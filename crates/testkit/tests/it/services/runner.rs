//! The program behind `make test` and `make services`.

use super::{LIMIT, listens};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use std::os::unix::fs::PermissionsExt;
use testkit::{Program, Running, Signal, until};

/// Prints both addresses, then does what the rest says.
const TELL: &str = "echo \"$LAPWING_TEST_POSTGRES $LAPWING_TEST_KAFKA\"; ";

fn services() -> Program {
    let workspace = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Program::new(env!("CARGO_BIN_EXE_services")).env("CARGO_MANIFEST_DIR", workspace)
}

/// Kafka is named, so only PostgreSQL is started.
fn one_service() -> Program {
    services().env("LAPWING_TEST_KAFKA", "named:9092")
}

fn exec(program: &Program, script: &str) -> Running {
    program.spawn(&["exec", "--", "/bin/sh", "-c", &format!("{TELL}{script}")])
}

/// The ports in the line that `TELL` prints.
fn ports(line: &str) -> Vec<u16> {
    let addresses = line.split(' ').map(|address| address.trim_end_matches("/postgres"));
    addresses.filter(|a| a.contains("127.0.0.1")).map(|a| a.rsplit_once(':').unwrap().1.parse().unwrap()).collect()
}

#[test]
fn both_are_there_for_the_command_and_gone_after_it() {
    let program = services();
    let running = exec(&program, "read -r _ || exit 3");
    let ports = ports(&running.wait_for_line(LIMIT, |line| line.contains("postgres://")));
    assert_eq!(ports.len(), 2);
    let output = running.wait(LIMIT);
    // Its stdin is empty; its code is the runner's, which has nothing to add.
    assert_eq!((output.code, output.stderr.as_str()), (3, ""), "{output}");
    assert!(ports.iter().all(|&port| !listens(port)));
}

#[test]
fn what_the_environment_names_is_not_started() {
    let program = services().env("LAPWING_TEST_KAFKA", "named:9092").env("LAPWING_TEST_POSTGRES", "postgres://named/");
    let output = exec(&program, "exit 0").wait(LIMIT);
    assert_eq!((output.code, output.stdout.as_str()), (0, "postgres://named/ named:9092\n"), "{output}");
}

#[test]
fn a_signal_ends_the_command_with_all_that_it_started() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let program = one_service();
        // The shell waits for a child that would outlive it.
        let mut running = exec(&program, "sh -c 'echo child $$; sleep 600; :'; :");
        let ports = ports(&running.wait_for_line(LIMIT, |line| line.contains("postgres://")));
        let child = running.wait_for_line(LIMIT, |line| line.starts_with("child "));
        let child = format!("/proc/{}/stat", &child["child ".len()..]);
        assert!(ports.iter().all(|&port| listens(port)));
        running.signal(signal);
        assert_eq!(running.wait(LIMIT).code, code);
        assert!(ports.iter().all(|&port| !listens(port)));
        let ended = || std::fs::read_to_string(&child).map_or(true, |stat| stat.contains(") Z "));
        until("what the command started is gone", LIMIT, ended);
    }
}

#[test]
fn a_command_that_ignores_the_signal_is_killed_at_the_second() {
    let program = one_service();
    let mut running = exec(&program, "trap '' INT; echo ready; while :; do sleep 0.1; done");
    running.wait_for_line(LIMIT, |line| line == "ready");
    running.signal(Signal::INT);
    assert!(running.lives());
    running.signal(Signal::INT);
    assert_eq!(running.wait(LIMIT).code, 130);
}

#[test]
fn the_services_of_a_killed_runner_end() {
    let program = services();
    let running = exec(&program, "exec sleep 600");
    let ports = ports(&running.wait_for_line(LIMIT, |line| line.contains("postgres://")));
    assert!(ports.len() == 2 && ports.iter().all(|&port| listens(port)));
    // Comes back when the outputs are closed: the command has ended too.
    running.kill9();
    let gone = || ports.iter().all(|&port| !listens(port));
    until("the services are gone", LIMIT, gone);
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let program = services().env("LAPWING_TEST_KAFKA", "named:9092").env("LAPWING_TEST_POSTGRES", "postgres://named/");
    let output = program.run(&["exec", "--", "no-such-command"]);
    assert!(output.code == 127 && output.stderr.contains("no-such-command"), "{output}");
    let output = program.run(&["exec"]);
    assert!(output.code == 2 && output.stderr.contains("usage: services exec"), "{output}");
}

#[test]
fn a_lasting_folder_keeps_the_data_and_is_held_by_one() {
    let program = services();
    // The server of a test that runs as root is somebody else's, who must get there.
    std::fs::set_permissions(program.folder(), PermissionsExt::from_mode(0o755)).unwrap();
    for sql in ["create table kept (n int)", "select n from kept"] {
        let mut running = program.spawn(&["up", "kept"]);
        let store = running.wait_for_line(LIMIT, |line| line.starts_with("PostgreSQL"));
        running.wait_for_line(LIMIT, |line| line.starts_with("LAPWING_TEST_KAFKA="));
        let told = running.wait_for_line(LIMIT, |line| line.contains("Ctrl-C"));
        assert!(program.read("kept/env").contains("\nLAPWING_TEST_POSTGRES=postgres://"), "{told}");
        execute(store.rsplit_once(' ').unwrap().1, sql);
        let second = program.run(&["up", "kept"]);
        assert!(second.code == 2 && second.stderr.contains("is in use"), "{second}");
        running.signal(Signal::INT);
        let output = running.wait(LIMIT);
        assert_eq!(output.code, 0, "{output}");
        assert!(!program.folder().join("kept/env").exists());
    }
}

#[tokio::main(flavor = "current_thread")]
async fn execute(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}
