-- Who the queue is, how far it has counted, and how many results it had to give up.
create table queue (
    one integer primary key check (one = 1),
    id text not null,
    next integer not null,
    dropped integer not null
) strict;

insert into queue values (1, lower(hex(randomblob(16))), 0, 0);

-- The records of one commit, as one zstd frame. `first` is the first one's sequence number, `raw` the size unpacked.
create table batches (
    first integer primary key,
    count integer not null,
    raw integer not null,
    appended_at integer not null,
    records blob not null
) strict;
