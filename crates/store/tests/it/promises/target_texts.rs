//! A target's name, group and URL are those of its latest result, in whatever order results come.

use super::stage;
use crate::stage::{Stage, line};

fn named(name: &str, second: i64) -> String {
    line(1, second, "").replace("\"T 1\"", &format!("\"{name}\",\"group\":\"{name}s\""))
}

async fn name(s: &Stage) -> String {
    s.query(r#"select distinct name || ' of ' || "group" || ' at ' || url from results"#).await
}

#[tokio::test]
async fn the_latest_wins_and_not_the_last_to_come() {
    let mut s = stage().await;
    s.follow("log", &[named("old", 0), named("new", 60), named("between", 30)]).await;
    assert_eq!(name(&s).await, "new of news at http://t1.example/");
    s.follow("log", &[named("newer", 90)]).await;
    assert_eq!(name(&s).await, "newer of newers at http://t1.example/");
}

#[tokio::test]
async fn a_repeated_result_renames_nothing() {
    let mut s = stage().await;
    s.follow("log", &[named("first", 0), named("second", 0)]).await;
    s.follow("other", &[named("third", 0)]).await;
    assert_eq!(name(&s).await, "first of firsts at http://t1.example/");
}

#[tokio::test]
async fn a_restart_does_not_forget_which_is_the_latest() {
    let mut s = stage().await;
    // The name is of second 0; that it was still so at second 600 stands in no table but the results'.
    s.follow("log", &[named("kept", 0), named("kept", 600)]).await;
    let mut s = s.restarted().await;
    s.follow("log", &[named("old", 300), named("older", 599), named("same slot", 600)]).await;
    assert_eq!(name(&s).await, "kept of kepts at http://t1.example/");
    s.follow("log", &[named("new", 601)]).await;
    assert_eq!(name(&s).await, "new of news at http://t1.example/");
}

#[tokio::test]
async fn that_a_name_is_still_in_use_is_noted_every_hour() {
    let mut s = stage().await;
    s.follow("log", &[named("kept", -7200), named("kept", -3700), named("kept", -3590), named("kept", 0)]).await;
    let mut s = s.restarted().await;
    s.follow("log", &[named("old", -3650), named("old", -1)]).await;
    assert_eq!(name(&s).await, "kept of kepts at http://t1.example/");
}

#[tokio::test]
async fn a_group_that_is_gone_is_gone() {
    let mut s = stage().await;
    s.follow("log", &[named("x", 0), line(1, 30, "")]).await;
    assert_eq!(s.query(r#"select coalesce("group", 'none') from results"#).await, "none\nnone");
}
