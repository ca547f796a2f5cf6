-- How far each log is stored: the compare-and-set of every write. `log` is the log's identity, `name` is for people.
create table offsets (
    log text not null,
    partition integer not null,
    name text not null,
    next integer not null,
    primary key (log, partition)
) strict, without rowid;

-- Targets by a small number. The texts are those of the target's latest result, which was due at `as_of` or up to an hour later.
create table targets (
    id integer primary key,
    target text not null unique,
    name text,
    "group" text,
    url text,
    as_of integer not null
) strict;

-- Locations by a small number.
create table locations (
    id integer primary key,
    location text not null unique
) strict;

-- What rarely changes from check to check of a target, once for all of them. `digest` is that of all the other columns.
create table facts (
    id integer primary key,
    digest blob not null unique,
    interval_ms integer,
    verdict text not null,
    reason text,
    phase text,
    attempts integer,
    status integer,
    http text,
    peer text,
    final_url text,
    redirects integer,
    tls_version text,
    tls_issuer text,
    tls_subject text,
    tls_not_before integer,
    tls_not_after integer
) strict;

-- One row a check. The key leads with time, so that new rows lie together. `start_ms` is the start after `due_at`, `rest_us`
-- what the total is more than the sum of the phases: small numbers are small in the file, and a zero takes nothing.
create table checks (
    due_at integer not null,
    target integer not null,
    location integer not null,
    facts integer not null,
    start_ms integer,
    lag_us integer,
    dns_us integer,
    connect_us integer,
    tls_us integer,
    wait_us integer,
    transfer_us integer,
    rest_us integer,
    body_bytes integer,
    rtt_us integer,
    retransmits integer,
    message text,
    primary key (due_at, target, location)
) strict, without rowid;

-- Records that can't be stored, byte for byte. `headers` is a JSON array of [name, base64].
create table dead_letters (
    id integer primary key autoincrement,
    reason text not null,
    message text not null,
    topic text not null,
    partition integer not null,
    "offset" integer not null,
    key blob,
    value blob not null,
    headers blob not null,
    failed_at text not null,
    attempts integer not null,
    next_retry_at text,
    resolved_at text
) strict;

-- The record of each check, field by field. Outer joins, so that who does not ask for a target's name does not pay for it.
create view results as
select
    1 as v,
    targets.target as target,
    targets.name as name,
    targets."group" as "group",
    targets.url as url,
    locations.location as location,
    strftime('%Y-%m-%dT%H:%M:%fZ', checks.due_at / 1000.0, 'unixepoch') as due_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', (checks.due_at + checks.start_ms) / 1000.0, 'unixepoch') as started_at,
    facts.interval_ms as interval_ms,
    facts.verdict as verdict,
    facts.reason as reason,
    facts.phase as phase,
    checks.message as message,
    facts.attempts as attempts,
    facts.status as status,
    facts.http as http,
    facts.peer as peer,
    facts.final_url as final_url,
    facts.redirects as redirects,
    checks.dns_us as dns_us,
    checks.connect_us as connect_us,
    checks.tls_us as tls_us,
    checks.wait_us as wait_us,
    checks.transfer_us as transfer_us,
    checks.rest_us + ifnull(checks.dns_us, 0) + ifnull(checks.connect_us, 0) + ifnull(checks.tls_us, 0)
        + ifnull(checks.wait_us, 0) + ifnull(checks.transfer_us, 0) as total_us,
    checks.body_bytes as body_bytes,
    facts.tls_version as tls_version,
    facts.tls_issuer as tls_issuer,
    facts.tls_subject as tls_subject,
    strftime('%Y-%m-%dT%H:%M:%fZ', facts.tls_not_before / 1000.0, 'unixepoch') as tls_not_before,
    strftime('%Y-%m-%dT%H:%M:%fZ', facts.tls_not_after / 1000.0, 'unixepoch') as tls_not_after,
    checks.rtt_us as rtt_us,
    checks.retransmits as retransmits,
    checks.lag_us as lag_us
from checks
left join targets on targets.id = checks.target
left join locations on locations.id = checks.location
left join facts on facts.id = checks.facts;
