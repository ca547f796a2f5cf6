//! What the program prints for those who read its results: the schema, and results that are valid by it.

use crate::at_work::program;
use serde_json::Value;
use std::collections::BTreeSet;
use testkit::{Refused, Site, Tls, pki, step::*};

#[test]
fn what_check_prints_is_valid_by_the_schema_that_is_printed() {
    let site = Site::routes([
        ("/fine", vec![resp(200, "welcome")]),
        ("/gone", vec![resp(404, "lost")]),
        ("/moved", vec![redirect(302, "/fine")]),
        ("/slow", vec![pause(200), resp(200, "")]),
        ("/silent", vec![hold()]),
        ("/cut", vec![send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), close()]),
    ]);
    let (refused, secure) = (Refused::new(), Site::tls(Tls::with(&pki().good), [resp(200, "welcome")]));
    let expired = Site::tls(Tls::with(&pki().expired), [resp(200, "never")]);
    let (program, at) = (program(), |path: &str| site.url(path));
    pki().write(program.folder());
    program.write(
        "lapwing.yaml",
        format!(
            "defaults: {{timeout: 1s, warn: {{time: 100ms}}, request: {{tls: {{ca_file: root.pem}}}}}}\ntargets:\n\
             - {{url: \"{}\", group: \"Sítes\"}}\n- {}\n- {}\n- {}\n- {}\n- {}\n- {}\n- {}\n- {}\n\
             - {{url: \"http://10.0.0.1/\", id: blocked}}\nguard: {{deny: 10.0.0.0/8}}\n",
            at("/fine"),
            at("/gone"),
            at("/moved"),
            at("/slow"),
            at("/silent"),
            at("/cut"),
            refused.url("/"),
            secure.url("/"),
            expired.url("/"),
        ),
    );
    let schema = &program.run(&["config", "schema", "--record"]).json_whole();
    let validator = jsonschema::draft202012::new(schema).unwrap();
    let output = program.run(&["check", "--json"]);
    let records = output.json();
    for record in &records {
        let complaints: Vec<_> = validator.iter_errors(record).map(|e| e.to_string()).collect();
        assert_eq!(complaints, [""; 0], "{record}");
    }
    let words = |field: &str| records.iter().filter_map(|r| r[field].as_str()).collect::<BTreeSet<_>>();
    assert_eq!(words("verdict"), BTreeSet::from(["up", "degraded", "down"]), "{output}");
    let reasons = ["blocked", "connect_refused", "slow", "status", "timeout", "tls_expired", "truncated"];
    assert_eq!(words("reason"), BTreeSet::from(reasons), "{output}");
    assert!(records.iter().any(|r| r["tls"].is_object()) && records.iter().any(|r| r["final_url"].is_string()));
}

#[test]
fn the_asyncapi_document_is_printed_and_one_schema_at_a_time() {
    let document = program().run(&["config", "schema", "--asyncapi"]).json_whole();
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_eq!(document["channels"]["results"]["address"], "lapwing.results");
    assert_eq!(program().run(&["config", "schema", "--record", "--asyncapi"]).code, 2);
}

trait Whole {
    fn json_whole(&self) -> Value;
}

impl Whole for testkit::Output {
    /// Stdout as one document.
    fn json_whole(&self) -> Value {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}
