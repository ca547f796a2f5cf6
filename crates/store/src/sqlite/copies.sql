-- Letters that still have to be copied to the dead topic. A trigger fills it, so that who writes a letter need not know of it.
-- `taken_until` (Unix time in ms): somebody is at it, and has until then.
create table dead_copies (
    letter integer primary key,
    taken_until integer
) strict;
insert into dead_copies (letter) select id from dead_letters;

-- What is due is found without a look at every letter that waits, or has waited.
create index dead_letters_due on dead_letters (next_retry_at, id) where resolved_at is null;

create trigger dead_letter_to_copy after insert on dead_letters
begin
    insert or ignore into dead_copies (letter) values (new.id);
end;

create trigger dead_letter_gone after delete on dead_letters
begin
    delete from dead_copies where letter = old.id;
end;
