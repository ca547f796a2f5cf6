//! TLS as libpq has it.

use store::{Settings, Store, postgres::OpenError};
use tempfile::TempDir;
use testkit::{Identity, Postgres, pki};
use tokio_util::sync::CancellationToken;

/// A server with this certificate, and the file that a client is to trust.
async fn server(identity: &Identity, trusted: &str) -> (Postgres, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), trusted).unwrap();
    (Postgres::options().tls(identity).start().await, folder)
}

async fn open((server, folder): &(Postgres, TempDir), host: &str, query: &str) -> Result<(), OpenError> {
    let query = query.replace("CA", &folder.path().join("ca.pem").display().to_string());
    let url = format!("postgres://lapwing@{host}:{}/postgres?{query}", server.port());
    let store = Store::open_postgres(&url.parse().unwrap(), Settings::default(), &CancellationToken::new()).await?;
    store.close().await;
    Ok(())
}

async fn refused(server: &(Postgres, TempDir), host: &str, query: &str, says: &str) {
    let e = open(server, host, query).await.unwrap_err();
    assert!(matches!(e, OpenError::Tls { .. }) && e.to_string().contains(says), "{query}: {e}");
}

#[tokio::test]
async fn the_right_ca_is_believed() {
    let server = server(&pki().good, &pki().root.pem).await;
    for query in [
        "sslmode=verify-full&sslrootcert=CA",
        "sslmode=verify-ca&sslrootcert=CA",
        "sslmode=require",
        "sslmode=prefer",
        "",
    ] {
        open(&server, "127.0.0.1", query).await.unwrap_or_else(|e| panic!("{query}: {e}"));
    }
    open(&server, "localhost", "sslmode=verify-full&sslrootcert=CA").await.unwrap();
}

#[tokio::test]
async fn a_wrong_ca_is_not() {
    let server = server(&pki().good, &pki().other_root.pem).await;
    for mode in ["verify-full", "verify-ca", "require"] {
        refused(&server, "127.0.0.1", &format!("sslmode={mode}&sslrootcert=CA"), "not trusted").await;
    }
    // Nor do the system's roots know it.
    refused(&server, "127.0.0.1", "sslmode=verify-full", "not trusted").await;
    open(&server, "127.0.0.1", "sslmode=require").await.unwrap();
}

#[tokio::test]
async fn the_name_counts_for_verify_full_alone() {
    let server = server(&pki().wrong_host, &pki().root.pem).await;
    refused(&server, "127.0.0.1", "sslmode=verify-full&sslrootcert=CA", "not for 127.0.0.1").await;
    open(&server, "127.0.0.1", "sslmode=verify-ca&sslrootcert=CA").await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_its_own_root() {
    let server = server(&pki().self_signed_ca, &pki().self_signed_ca.chain_pem).await;
    open(&server, "localhost", "sslmode=verify-full&sslrootcert=CA").await.unwrap();
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let server = server(&pki().expired, &pki().root.pem).await;
    refused(&server, "localhost", "sslmode=verify-full&sslrootcert=CA", "expired").await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let plain = (Postgres::start().await, tempfile::tempdir().unwrap());
    refused(&plain, "127.0.0.1", "sslmode=require", "ssl = on").await;
    for mode in ["prefer", "allow", "disable"] {
        open(&plain, "127.0.0.1", &format!("sslmode={mode}")).await.unwrap();
    }
}

#[tokio::test]
async fn where_plain_text_is_not_let_in_allow_goes_on_to_tls() {
    let rule = "hostnossl all all 127.0.0.1/32 reject";
    // The superuser is trusted by a rule before; another role meets ours.
    let server = Postgres::options().tls(&pki().good).rule(rule).start().await;
    let database = server.database().await;
    database.execute("grant all on schema public to public").await;
    let role = database.role().await;
    let open = async |mode: &str| {
        let url = format!("{role}?sslmode={mode}").parse().unwrap();
        Store::open_postgres(&url, Settings::default(), &CancellationToken::new()).await.map(drop)
    };
    let e = open("disable").await.unwrap_err();
    assert!(matches!(e, OpenError::Authentication { .. }), "{e}");
    open("allow").await.unwrap();
    open("prefer").await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let server = server(&pki().good, &pki().root.pem).await;
    refused(&server, "127.0.0.1", "sslmode=verify-full&sslrootcert=/none/ca.pem", "/none/ca.pem").await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_wanted() {
    let rule = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca";
    let server = Postgres::options().tls(&pki().good).client_authority(&pki().root).rule(rule).start().await;
    let folder = tempfile::tempdir().unwrap();
    pki().write(folder.path());
    let database = server.database().await;
    database.execute("grant all on schema public to public").await;
    let role = database.role().await;
    let open = async |query: &str| {
        let file = |name: &str| folder.path().join(name).display().to_string();
        let query = query.replace("NOBODY", &file("unknown_client")).replace("CLIENT", &file("client"));
        let url = format!("{role}?sslmode=verify-full&sslrootcert={}{query}", file("root.pem"));
        Store::open_postgres(&url.parse().unwrap(), Settings::default(), &CancellationToken::new()).await.map(drop)
    };
    open("&sslcert=CLIENT.pem&sslkey=CLIENT.key").await.unwrap();
    for query in ["", "&sslcert=NOBODY.pem&sslkey=NOBODY.key", "&sslcert=CLIENT.pem&sslkey=NOBODY.key"] {
        let e = open(query).await.unwrap_err();
        assert!(e.to_string().contains("sslcert"), "{query}: {e}");
        let is_refusal = matches!(e, OpenError::Tls { .. } | OpenError::Authentication { .. });
        assert!(is_refusal && !e.to_string().contains("secret-"), "{query}: {e}");
    }
}
