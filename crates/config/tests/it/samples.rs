//! The files that we hand out are good ones.

use crate::helper::{Folder, repository, samples};
use config::{Environment, StoreSetting, load};

#[test]
fn the_sample_loads_and_watches_lapwing_itself() {
    let config =
        load(&repository().join("lapwing.sample.yaml"), &Environment::default()).unwrap_or_else(|e| panic!("{e}"));
    let own = config.targets.iter().find(|t| t.id.as_str() == "lapwing").expect("a target of its own");
    assert_eq!(own.url.as_str(), format!("http://{}/healthz", config.web.listen));
    assert!(own.interval_ms <= 10_000 && config.targets.len() > 2);
}

#[test]
fn the_sample_of_both_roles_loads_with_and_without_what_the_sample_of_the_environment_names() {
    let sample = repository().join("lapwing.kafka.sample.yaml");
    let loaded = |variables: &[(&str, &str)]| {
        let variables: Environment = variables.iter().copied().collect();
        load(&sample, &variables).unwrap_or_else(|e| panic!("{e}"))
    };
    let brokers = |config: &config::Config| config.kafka.as_ref().expect("a section kafka").brokers.clone();
    let plain = loaded(&[]);
    let (probe, write) = (plain.metrics.of_probe().to_string(), plain.metrics.of_write().to_string());
    for (id, listen) in [("prober", probe), ("writer", write)] {
        let own = plain.targets.iter().find(|t| t.id.as_str() == id).expect("a target of its own");
        assert_eq!(own.url.as_str(), format!("http://{listen}/healthz"));
    }
    assert_eq!(brokers(&plain), ["127.0.0.1:19092"]);

    let text = std::fs::read_to_string(repository().join(".env.sample")).unwrap();
    let named: Vec<_> = text.lines().filter_map(|line| line.strip_prefix('#')?.split_once('=')).collect();
    let named: Vec<_> = named.into_iter().filter(|(name, _)| name.starts_with("LAPWING_KAFKA")).collect();
    assert_eq!(brokers(&loaded(&named)), ["broker-1:9092"]);
    for variable in ["LAPWING_KAFKA", "LAPWING_STORE"] {
        assert!(text.contains(&format!("#{variable}=")), "{variable} is not in .env.sample");
    }
}

#[test]
fn every_sample_loads_with_nothing_in_the_environment() {
    let samples = samples();
    assert!(samples.len() >= 2, "{samples:?}");
    for sample in samples {
        load(&sample, &Environment::default()).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn the_sample_of_both_roles_loads_with_what_compose_gives_it() {
    let compose = std::fs::read_to_string(repository().join("compose.yaml")).unwrap();
    let given = compose.lines().filter_map(|line| line.trim().split_once(": "));
    let given: Vec<_> = given.filter(|(name, _)| name.starts_with("LAPWING_") && *name != "LAPWING_HEALTH").collect();
    let sample = repository().join("lapwing.kafka.sample.yaml");
    let text = std::fs::read_to_string(&sample).unwrap();
    for (name, _) in &given {
        assert!(text.contains(&format!("${{{name}:-")), "{name} is not asked for");
    }
    let password = "${LAPWING_DB_PASSWORD:?choose one in .env}";
    let given: Vec<_> = given.into_iter().map(|(name, value)| (name, value.replace(password, "secret"))).collect();
    let variables: Environment = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let config = load(&sample, &variables).unwrap_or_else(|e| panic!("{e}"));
    let StoreSetting::Postgres(store) = &config.store else { panic!("{:?}", config.store) };
    assert_eq!((store.host_str(), store.password()), (Some("postgres"), Some("secret")));
    assert_eq!(config.kafka.expect("a section kafka").brokers, ["kafka:9092"]);
    let url = |id: &str| config.targets.iter().find(|t| t.id.as_str() == id).expect("a target").url.to_string();
    assert_eq!([url("prober"), url("writer")], ["http://probe:9464/healthz", "http://write:9465/healthz"]);
    let environment = std::fs::read_to_string(repository().join(".env.sample")).unwrap();
    for name in ["LAPWING_DB_PASSWORD", "LAPWING_YAML", "LAPWING_IMAGE"] {
        assert!(compose.contains(&format!("${{{name}:")) && environment.contains(&format!("#{name}=")), "{name}");
    }
}

#[test]
fn the_starter_loads() {
    assert_eq!(Folder::new(config::starter()).good().targets.len(), 2);
}

#[test]
fn the_starter_explains_every_key() {
    let schema = config::schema();
    let shapes = schema["$defs"].as_object().expect("definitions").values().chain([&schema]);
    for properties in shapes.filter_map(|s| s["properties"].as_object()) {
        for key in properties.keys() {
            assert!(
                config::starter().contains(&format!("{key}:")) || config::starter().contains(key),
                "{key} is not in the starter"
            );
        }
    }
}

#[test]
fn the_starters_comments_are_good_too() {
    // What stands behind a `#` before a key, taken in one section at a time.
    let sections = config::starter().split("\n\n").filter(|s| s.lines().all(|l| l.starts_with('#')));
    let mut tried = 0;
    for section in sections {
        let yaml: String = section
            .lines()
            .map(|l| format!("{}\n", l.trim_start_matches('#').strip_prefix(' ').unwrap_or("")))
            .collect();
        let is_key = |l: &str| {
            l.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == ' ') && l.contains(": ")
                || l.trim_end().ends_with(':')
        };
        let yaml: String = yaml.lines().filter(|l| is_key(l)).map(|l| format!("{l}\n")).collect();
        let found = Folder::new(&format!("{yaml}targets: []")).variables(&[("KAFKA_PASSWORD", "x")]).mistakes();
        let left: Vec<_> = found.iter().filter(|m| !m.contains("No such file")).collect();
        assert!(left.is_empty(), "{left:?} in\n{yaml}");
        tried += 1;
    }
    assert!(tried >= 4, "only {tried} sections of comments");
}
