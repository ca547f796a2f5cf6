//! Look-ups at a resolver on loopback that answers as it is told.

mod checks;

use super::*;
use crate::arrival::Stamping;
use std::{collections::BTreeSet, time::Instant};
use tempfile::TempDir;
use testkit::names::{NameServer, Question, Reply, Strange};

/// A machine that looks names up there.
struct Machine {
    resolver: Resolver,
    _files: TempDir,
}

fn machine(port: u16, resolv_conf: &str, hosts: &str) -> Machine {
    let files = tempfile::tempdir().unwrap();
    let (conf, hosts_file) = (files.path().join("resolv.conf"), files.path().join("hosts"));
    std::fs::write(&conf, resolv_conf).unwrap();
    std::fs::write(&hosts_file, hosts).unwrap();
    Machine { resolver: Resolver { system: System::new(conf, hosts_file, port), own: vec![] }, _files: files }
}

fn asking(server: &NameServer) -> Machine {
    machine(server.port, "nameserver 127.0.0.1\n", "")
}

impl Machine {
    /// The addresses, or reason and phase.
    async fn look_up(&self, host: &str) -> String {
        match self.resolver.resolve(host, &Lookup::default(), &Arrivals::new()).await {
            Ok(found) => found.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(f) => format!("{}{}", f.reason, f.phase.map(|p| format!(" {p}")).unwrap_or_default()),
        }
    }
}

fn records(list: &[(&str, &str)]) -> Reply {
    Reply::Records(list.iter().map(|&(owner, to)| (owner.to_owned(), to.to_owned())).collect())
}

fn both() -> Reply {
    records(&[("x.test", "127.0.0.1"), ("x.test", "::1")])
}

fn late(ms: u64, reply: Reply) -> Reply {
    Reply::Late(Duration::from_millis(ms), Box::new(reply))
}

fn after(strange: Strange, reply: Reply) -> Reply {
    Reply::After(strange, Box::new(reply))
}

/// What the two families are answered.
fn split(six: Reply, four: Reply) -> impl Fn(&Question) -> Reply {
    move |q| if q.family == RecordType::AAAA { six.clone() } else { four.clone() }
}

async fn check(want: &str, script: impl Fn(&Question) -> Reply + Send + Sync + 'static) {
    let server = NameServer::new(script);
    assert_eq!(asking(&server).look_up("x.test").await, want);
}

#[tokio::test]
async fn addresses_of_both_families_are_found_ipv6_first() {
    check("::1 127.0.0.1", |_| both()).await;
    check("127.0.0.1", |_| records(&[("x.test", "127.0.0.1")])).await;
    check("::1", |_| records(&[("x.test", "::1")])).await;
    check("127.0.0.1 127.0.0.2", |_| records(&[("x.test", "127.0.0.1"), ("X.TEST", "127.0.0.2")])).await;
}

#[tokio::test]
async fn an_answer_without_addresses_says_why() {
    let code = |code| move |_: &Question| Reply::Code(code);
    check("dns_not_found dns", code(ResponseCode::NXDomain)).await;
    check("dns_no_address dns", |_| records(&[])).await;
    check("dns_no_address dns", |_| records(&[("other.test", "127.0.0.1")])).await;
    for broken in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::FormErr, ResponseCode::NotImp] {
        check("dns_failed dns", code(broken)).await;
    }
}

#[tokio::test]
async fn one_broken_family_does_not_hide_the_other() {
    let (six, four) = (records(&[("x.test", "::1")]), records(&[("x.test", "127.0.0.1")]));
    let broken = [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NXDomain]
        .map(Reply::Code)
        .into_iter()
        .chain([Reply::Silence]);
    let begun = Instant::now();
    for broken in broken {
        check("127.0.0.1", split(broken.clone(), four.clone())).await;
        check("::1", split(six.clone(), broken)).await;
    }
    check("127.0.0.1", split(late(10_000, six), four.clone())).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits for the other family: {:?}", begun.elapsed());
    check("127.0.0.1", split(records(&[]), late(200, four))).await;
}

#[tokio::test]
async fn aliases_are_followed_within_an_answer_and_by_asking_on() {
    check("127.0.0.1", |_| records(&[("x.test", "y.test"), ("y.test", "z.test"), ("z.test", "127.0.0.1")])).await;
    let step_by_step = |q: &Question| match q.name.as_str() {
        "x.test" => records(&[("x.test", "y.test")]),
        "y.test" => records(&[("y.test", "127.0.0.1")]),
        _ => Reply::Code(ResponseCode::NXDomain),
    };
    check("127.0.0.1", step_by_step).await;
    check("dns_not_found dns", |q| {
        if q.name == "x.test" { records(&[("x.test", "y.test")]) } else { Reply::Code(ResponseCode::NXDomain) }
    })
    .await;
}

#[tokio::test]
async fn what_an_answer_lay_there_while_we_were_busy_is_known() {
    let server = NameServer::new(|_| late(500, both()));
    let (machine, arrivals, lookup) = (asking(&server), Arrivals::new(), Lookup::default());
    let _on = Stamping::hold();
    let busy = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        std::thread::sleep(Duration::from_millis(1500));
    };
    let (found, ()) = tokio::join!(machine.resolver.resolve("x.test", &lookup, &arrivals), busy);
    assert_eq!(found.unwrap().addresses.len(), 2);
    assert!((400..1500).contains(&arrivals.lain().as_millis()), "{:?}", arrivals.lain());
}

#[tokio::test]
async fn aliases_that_lead_in_a_circle_fail_after_few_questions() {
    for circle in [&["x.test"][..], &["x.test", "y.test"], &["x.test", "y.test", "z.test"]] {
        let next = |name: &str| {
            let at = circle.iter().position(|&n| n == name).unwrap_or(0);
            circle[(at + 1) % circle.len()]
        };
        let whole: Vec<_> = circle.iter().map(|&n| (n, next(n))).collect();
        check("dns_failed dns", move |_| records(&whole)).await;
        let server = NameServer::new(move |q| records(&[(&q.name, next(&q.name))]));
        let found = asking(&server).resolver.resolve("x.test", &Lookup::default(), &Arrivals::new()).await.unwrap_err();
        assert_eq!(found.message, "the aliases (CNAME) of x.test lead in a circle");
        assert!(server.asked().len() <= 32, "{} questions", server.asked().len());
    }
}

#[tokio::test]
async fn what_is_no_answer_to_the_question_is_ignored() {
    for strange in [Strange::Garbage, Strange::WrongId, Strange::WrongName, Strange::Echo] {
        check("::1 127.0.0.1", move |_| after(strange, both())).await;
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let server = NameServer::new(|q| if q.tcp { both() } else { Reply::Truncated });
    assert_eq!(asking(&server).look_up("x.test").await, "::1 127.0.0.1");
    assert_eq!(server.asked().iter().filter(|q| q.tcp).count(), 2);
    check("dns_failed dns", |q| if q.tcp { Reply::Hangup } else { Reply::Truncated }).await;
    check("dns_failed dns", |q| if q.tcp { after(Strange::WrongId, both()) } else { Reply::Truncated }).await;
}

#[tokio::test]
async fn a_lost_packet_is_sent_again() {
    check("::1 127.0.0.1", |q| if q.nth == 0 { Reply::Silence } else { both() }).await;
}

#[tokio::test]
async fn the_next_resolver_is_asked_when_one_can_not_tell() {
    for broken in [Reply::Code(ResponseCode::ServFail), Reply::Code(ResponseCode::Refused), Reply::Silence] {
        let good = NameServer::new(|_| both());
        let bad = NameServer::on("127.0.0.2", good.port, move |_| broken.clone());
        let machine = machine(good.port, "nameserver 127.0.0.2\nnameserver 127.0.0.1\n", "");
        assert_eq!(machine.look_up("x.test").await, "::1 127.0.0.1");
        assert!(!bad.asked().is_empty());
    }
    let good = NameServer::new(|_| both());
    let closed = machine(good.port, "nameserver 127.0.0.3\nnameserver 127.0.0.1\n", "");
    assert_eq!(closed.look_up("x.test").await, "::1 127.0.0.1");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_not_asked_for_elsewhere() {
    let second = NameServer::new(|_| both());
    let first = NameServer::on("127.0.0.2", second.port, |_| Reply::Code(ResponseCode::NXDomain));
    let machine = machine(second.port, "nameserver 127.0.0.2\nnameserver 127.0.0.1\n", "");
    assert_eq!(machine.look_up("x.test").await, "dns_not_found dns");
    assert_eq!((first.asked().len(), second.asked().len()), (2, 0));
}

#[tokio::test]
async fn a_port_where_no_resolver_listens_has_failed() {
    let server = NameServer::new(|_| both());
    let machine = machine(server.port, "nameserver 127.0.0.3\n", "");
    let found = machine.resolver.resolve("x.test", &Lookup::default(), &Arrivals::new()).await.unwrap_err();
    assert_eq!((found.reason, found.phase), (Reason::DnsFailed, Some(Phase::Dns)));
    assert!(found.message.contains("x.test"), "{}", found.message);
}

#[tokio::test]
async fn the_hosts_file_comes_first() {
    let server = NameServer::new(|_| both());
    let machine = machine(server.port, "nameserver 127.0.0.1\n", "127.0.0.9 X.test\n127.0.0.8 localhost\n");
    assert_eq!(machine.look_up("x.TEST").await, "127.0.0.9");
    assert_eq!(machine.look_up("x.test.").await, "127.0.0.9");
    assert_eq!(machine.look_up("localhost").await, "127.0.0.8");
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn localhost_always_works() {
    let server = NameServer::new(|_| Reply::Silence);
    for name in ["localhost", "LocalHost", "localhost.", "a.localhost"] {
        assert_eq!(asking(&server).look_up(name).await, "::1 127.0.0.1", "{name}");
    }
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn the_search_list_is_for_names_without_a_dot() {
    let only = |name: &'static str| {
        move |q: &Question| if q.name == name { both_of(name) } else { Reply::Code(ResponseCode::NXDomain) }
    };
    let conf = "nameserver 127.0.0.1\nsearch one.test two.test\n";
    for (host, there, want, asked) in [
        ("shop", "shop.two.test", "::1 127.0.0.1", &["shop.one.test", "shop.two.test"][..]),
        ("shop", "shop", "::1 127.0.0.1", &["shop", "shop.one.test", "shop.two.test"]),
        ("shop", "", "dns_not_found dns", &["shop", "shop.one.test", "shop.two.test"]),
        ("shop.", "shop.one.test", "dns_not_found dns", &["shop"]),
        ("a.shop", "a.shop.one.test", "dns_not_found dns", &["a.shop"]),
    ] {
        let server = NameServer::new(only(there));
        assert_eq!(machine(server.port, conf, "").look_up(host).await, want, "{host}");
        assert_eq!(server.names(), asked, "{host}");
    }
}

#[tokio::test]
async fn a_resolver_that_was_named_is_asked_instead_of_the_system_and_the_targets_own_before_that_of_all() {
    let system = NameServer::new(|_| both());
    let (of_all, own) = (NameServer::new(|q| both_of(&q.name)), NameServer::new(|q| both_of(&q.name)));
    let mut machine = machine(system.port, "nameserver 127.0.0.1\nsearch corp.test\n", "127.0.0.9 x.test shop\n");
    machine.resolver.own = vec![([127, 0, 0, 1], of_all.port).into()];
    for name in ["x.test", "shop", "localhost"] {
        assert_eq!(machine.look_up(name).await, "::1 127.0.0.1", "no hosts file: {name}");
    }
    assert_eq!((of_all.names(), system.asked().len()), (vec!["shop".into(), "x.test".into()], 0), "and no search list");
    let lookup = Lookup { resolvers: [([127, 0, 0, 1], own.port).into()].into(), ..Lookup::default() };
    machine.resolver.resolve("own.test", &lookup, &Arrivals::new()).await.unwrap();
    assert_eq!((own.names(), of_all.names().len()), (vec!["own.test".into()], 2));
}

#[tokio::test]
async fn only_the_family_that_was_chosen_is_asked_for() {
    for (family, asked, address) in [(Family::V4, RecordType::A, "127.0.0.1"), (Family::V6, RecordType::AAAA, "::1")] {
        let server = NameServer::new(|_| both());
        let machine = asking(&server);
        let lookup = Lookup { family, ..Lookup::default() };
        for name in ["x.test", "localhost"] {
            let found = machine.resolver.resolve(name, &lookup, &Arrivals::new()).await.unwrap();
            assert_eq!(found.addresses, [address.parse::<IpAddr>().unwrap()], "{name}");
        }
        assert_eq!(server.asked().iter().map(|q| q.family).collect::<Vec<_>>(), [asked]);
    }
}

fn both_of(name: &str) -> Reply {
    records(&[(name, "127.0.0.1"), (name, "::1")])
}

#[tokio::test]
async fn nothing_is_remembered() {
    let server = NameServer::new(|q| if q.nth == 0 { Reply::Code(ResponseCode::NXDomain) } else { both() });
    let machine = asking(&server);
    assert_eq!(machine.look_up("x.test").await, "dns_not_found dns");
    for _ in 0..2 {
        assert_eq!(machine.look_up("x.test").await, "::1 127.0.0.1");
    }
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn names_that_are_odd_are_asked_for_or_refused() {
    let server = NameServer::new(|q| both_of(&q.name));
    let machine = asking(&server);
    assert_eq!(machine.look_up("_a_b.x-y.test").await, "::1 127.0.0.1");
    for odd in ["a..test".to_owned(), "x".repeat(64) + ".test", "x.".repeat(200) + "test"] {
        assert_eq!(machine.look_up(&odd).await, "dns_failed dns", "{odd}");
    }
    let names: BTreeSet<_> = server.names().into_iter().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
async fn both_families_are_asked_at_once() {
    // A busy moment may spoil one run; asking one after the other would spoil all of them.
    let mut took = Vec::new();
    for _ in 0..6 {
        let server = NameServer::new(|_| late(200, both()));
        let begun = Instant::now();
        assert_eq!(asking(&server).look_up("x.test").await, "::1 127.0.0.1");
        took.push(begun.elapsed());
        if begun.elapsed() < Duration::from_millis(390) {
            return;
        }
    }
    panic!("{took:?}");
}
