-- Letters that still have to be copied to the dead topic. A trigger fills it, so that who writes a letter need not know of it, not
-- even a program of an earlier version. `taken_until`: somebody is at it, and has until then.
create table dead_copies (
    letter bigint primary key references dead_letters on delete cascade,
    taken_until timestamptz
);
insert into dead_copies (letter) select id from dead_letters;

create function dead_letter_to_copy() returns trigger language plpgsql as $$
begin
    insert into dead_copies (letter) values (new.id) on conflict do nothing;
    return null;
end $$;

-- What is due is found without a look at every letter that waits, or has waited.
create index dead_letters_due on dead_letters (next_retry_at, id) where resolved_at is null;

create trigger to_copy after insert on dead_letters for each row execute function dead_letter_to_copy();
