-- Records that had expired before they were read: those from `from_offset` up to, and not including, `to_offset`.
create table gaps (
    topic text not null,
    partition integer not null,
    from_offset integer not null,
    to_offset integer not null,
    at text not null
) strict;
