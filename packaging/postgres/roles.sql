-- Three roles for Lapwing's database, each with what it needs and no more:
--
--   lapwing_owner    owns the tables: `lapwing db migrate` at each new version, and `lapwing db prune` every day
--   lapwing_writer   `lapwing write`, `lapwing db status|offsets` and `lapwing dead list|show|replay`
--   lapwing_reader   reads the views, and nothing else
--
-- Run it in a database that is Lapwing's alone, as a superuser or as the user that a managed service hands out (who owns the database and
-- may create roles): before the first `lapwing db migrate`, which needs the owner, and again after each, for what is new. Running it
-- again changes nothing else. The roles have no password and can't log in with one until you have set it: `\password lapwing_owner` in
-- psql, which keeps it out of the server's log.

do $$
declare
    wanted text;
begin
    foreach wanted in array array['lapwing_owner', 'lapwing_writer', 'lapwing_reader'] loop
        if not exists (select from pg_roles where rolname = wanted) then
            execute format('create role %I login', wanted);
        end if;
    end loop;
    -- Temporary tables are for results of which some are stored already.
    execute format('grant connect, temporary on database %I to lapwing_owner, lapwing_writer', current_database());
    execute format('grant connect on database %I to lapwing_reader', current_database());
end $$;

-- To grant in the owner's name, below.
grant lapwing_owner to current_user;

-- PostgreSQL 14 lets everybody make tables here.
revoke create on schema public from public;
grant usage, create on schema public to lapwing_owner;
grant usage on schema public to lapwing_writer, lapwing_reader;

set role lapwing_owner;

-- What is there by now. A partition needs no rights of its own: who may write to `checks` may write to all its days.
do $$
declare
    it record;
begin
    for it in select name, rights from (values
            ('schema_version', 'select'),
            ('offsets', 'select, insert, update'),
            ('targets', 'select, insert, update'),
            ('locations', 'select, insert'),
            ('facts', 'select, insert'),
            ('checks', 'select, insert'),
            ('dead_letters', 'select, insert, update'),
            ('dead_copies', 'select, insert, update, delete'),
            ('gaps', 'select, insert')
        ) as needed (name, rights)
        where to_regclass('public.' || name) is not null
    loop
        execute format('grant %s on public.%I to lapwing_writer', it.rights, it.name);
    end loop;
    -- A view reads in its owner's name.
    for it in select viewname as name from pg_views where schemaname = 'public' and viewowner = 'lapwing_owner' loop
        execute format('grant select on public.%I to lapwing_reader', it.name);
    end loop;
end $$;

reset role;
