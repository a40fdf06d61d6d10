-- publish.lua: put an account into the cache, unless a newer one is there.
--
-- KEYS[1] usage    hash    as in charge.lua
-- KEYS[2] account  string  the account as JSON
-- ARGV[1] version >= 1   ARGV[2] the account   ARGV[3] seconds until both keys expire
-- ARGV[4] sequence number to begin with if usage is not here: the start of a new epoch
-- then two per counter that the ledger knows: field, "window_starts_at|used"
--
-- Returns 1 if written, 0 if what is here is as new or newer. Either way both keys live longer.
-- Usage without v is not here: it gets the ledger's counters. Counters that are here are
-- never touched, and a version is never lowered, also if usage was lost and the account was not.
--
-- Cluster: both keys share the {customer} tag.   Cost: O(counters).
local version = tonumber(ARGV[1])
local current = tonumber(redis.call('HGET', KEYS[1], 'v') or 0)
local account = redis.call('GET', KEYS[2])
local newest = current
if account and current == 0 then
  local readable, value = pcall(cjson.decode, account)
  if readable and type(value) == 'table' then newest = tonumber(value.version) or 0 end
end

local written = 0
if version > newest or (version == newest and (not account or current == 0)) then
  if current == 0 then
    for i = 5, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
    local seq = tonumber(redis.call('HGET', KEYS[1], 's') or 0)
    if seq < tonumber(ARGV[4]) then redis.call('HSET', KEYS[1], 's', ARGV[4]) end
  end
  redis.call('HSET', KEYS[1], 'v', ARGV[1])
  redis.call('SET', KEYS[2], ARGV[2])
  written = 1
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return written
