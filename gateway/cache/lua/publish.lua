-- publish.lua: put an account into the cache, unless a newer one is there.
--
-- KEYS[1] usage    hash    as in charge.lua
-- KEYS[2] account  string  the account as JSON
-- ARGV[1] version >= 1   ARGV[2] the account   ARGV[3] seconds until both keys expire
-- ARGV[4] the highest sequence number that the ledger has seen of this customer
-- ARGV[5] '1': write it whatever is here, for what is here cannot be right
-- then two per counter that the ledger knows: field, "window_starts_at|used"; of a quota q:... and p:...
--
-- Returns 1 if written, 0 if what is here is as new or newer. Either way both keys live longer. What was
-- written is told to the workers that have leases of this account.
--
-- Laws. What is here is believed if it has a version and belongs to the server's history (see
-- charge.lua). Believed counters are never touched, and a believed version is never lowered.
-- What is not believed gets the ledger's account, and the ledger's counters where they are ahead:
-- in a later window, or higher in the same one while the ledger has seen a later number. No count
-- is lowered. Its sequence then begins a new epoch: later readings outrank all earlier ones. So p must be held
-- against the ledger too, or an older one would be settled next. What is counted then has every charge of the epoch
-- before up to k, for one of the two had it, and may be without any other: those are not given back, nor are leases.
--
-- Cluster: both keys share the {customer} tag.   Cost: O(counters).
local EPOCH = 4294967296 -- 2^21 epochs fit below 2^53
local find, sub = string.find, string.sub

local function history() -- as in charge.lua
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
end

local function pair(value) -- "a|b" -> a, b
  local bar = find(value, '|', 1, true)
  return tonumber(sub(value, 1, bar - 1)), tonumber(sub(value, bar + 1))
end

local here = redis.call('HMGET', KEYS[1], 'v', 's', 'e')
local current, seq, now_in = tonumber(here[1] or 0), tonumber(here[2] or 0), history()
local is_believed = current > 0 and here[3] == now_in and ARGV[5] ~= '1'
local version, settled = tonumber(ARGV[1]), tonumber(ARGV[4])

local function is_behind(stored, counter)
  if not stored then return true end
  local starts_at, used = pair(stored)
  local known_starts_at, known_used = pair(counter)
  if starts_at ~= known_starts_at then return starts_at < known_starts_at end
  return seq < settled and used < known_used
end

local written = 0
if not is_believed or version > current or (version == current and redis.call('EXISTS', KEYS[2]) == 0) then
  if not is_believed then
    for i = 6, #ARGV, 2 do
      if is_behind(redis.call('HGET', KEYS[1], ARGV[i]), ARGV[i + 1]) then
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
      end
    end
    local epoch = (math.floor(math.max(seq, settled) / EPOCH) + 1) * EPOCH
    redis.call('HSET', KEYS[1], 's', string.format('%.0f', epoch), 'e', now_in)
    if epoch > EPOCH then redis.call('HSET', KEYS[1], 'k', string.format('%.0f', math.max(seq, settled))) end
    redis.call('HDEL', KEYS[1], 'l')
  end
  redis.call('HSET', KEYS[1], 'v', ARGV[1])
  redis.call('SET', KEYS[2], ARGV[2])
  redis.pcall('PUBLISH', 'tg:changed', KEYS[1]) -- keyspace.CHANGED_CHANNEL; who may not, goes without
  written = 1
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return written
