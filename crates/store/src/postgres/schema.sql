-- Which Lapwing has made these tables: the number of migrations that were run. One row.
create table schema_version (version integer not null);
insert into schema_version values (0);

-- How far each log is stored: the compare-and-set of every write. `log` is the log's identity; `name` is for people, and tells
-- a log that was made anew under the same name.
create table offsets (
    log text not null,
    partition integer not null,
    name text not null,
    next bigint not null,
    primary key (log, partition)
) with (fillfactor = 50);

-- Targets by a small number. The texts are those of the target's latest result, which was due at `as_of` or up to an hour later.
create table targets (
    id integer generated always as identity primary key,
    target text not null unique,
    name text,
    "group" text,
    url text,
    as_of timestamptz not null
) with (fillfactor = 80);

-- Locations by a small number.
create table locations (
    id integer generated always as identity primary key,
    location text not null unique
);

-- What rarely changes from check to check of a target, once for all of them. `digest` is that of all the other columns.
create table facts (
    id integer generated always as identity primary key,
    digest bytea not null unique,
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
    retransmits integer,
    tls_version text,
    tls_issuer text,
    tls_subject text,
    tls_not_before timestamptz,
    tls_not_after timestamptz
);

-- One row a check, in a partition a day (UTC). The key leads with time: new rows lie together, and its cost stays the same
-- however many there are. No default partition: it would have to be searched whenever a day is added. No foreign keys: rows
-- come by `COPY`, with numbers that were committed before.
create table checks (
    due_at timestamptz not null,
    started_at timestamptz,
    target integer not null,
    location integer not null,
    facts integer not null,
    lag_us integer,
    dns_us integer,
    connect_us integer,
    tls_us integer,
    wait_us integer,
    transfer_us integer,
    total_us integer,
    body_bytes integer,
    rtt_us integer,
    message text,
    primary key (due_at, target, location)
) partition by range (due_at);

-- Records that can't be stored, byte for byte. `headers` is a JSON array of [name, base64].
create table dead_letters (
    id bigint generated always as identity primary key,
    reason text not null,
    message text not null,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    key bytea,
    value bytea not null,
    headers bytea not null,
    failed_at timestamptz not null,
    attempts integer not null,
    next_retry_at timestamptz,
    resolved_at timestamptz
);

-- Records that had expired before they were read: those from `from_offset` up to, and not including, `to_offset`.
create table gaps (
    topic text not null,
    partition integer not null,
    from_offset bigint not null,
    to_offset bigint not null,
    at timestamptz not null
);

-- The record of each check, field by field. Outer joins, so that who does not ask for a target's name does not pay for it.
create view results as
select
    1 as v,
    targets.target as target,
    targets.name as name,
    targets."group" as "group",
    targets.url as url,
    locations.location as location,
    checks.due_at as due_at,
    checks.started_at as started_at,
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
    checks.total_us as total_us,
    checks.body_bytes as body_bytes,
    facts.tls_version as tls_version,
    facts.tls_issuer as tls_issuer,
    facts.tls_subject as tls_subject,
    facts.tls_not_before as tls_not_before,
    facts.tls_not_after as tls_not_after,
    checks.rtt_us as rtt_us,
    facts.retransmits as retransmits,
    checks.lag_us as lag_us
from checks
left join targets on targets.id = checks.target
left join locations on locations.id = checks.location
left join facts on facts.id = checks.facts;
