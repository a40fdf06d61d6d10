-- settle.lua: end one receipt: correct what it charged to what the call cost, once. A refund corrects to nothing.
-- Quotas only: a rate counts attempts, and nothing corrects one.
--
-- KEYS[1] usage   hash    as in charge.lua
-- KEYS[2] receipt string  marker: this receipt has ended
-- ARGV[1] seconds the marker is kept
-- ARGV[2] sequence number that the charge got; 0 = not known
-- ARGV[3] Unix seconds of the charge; 0 = not known
-- then four per part of the receipt: field change starts_at most
--   its count moves by change (cost less what was charged), to 0 at least and 2^53 - 1 at most. The limit is not
--   asked: the units were used. Except where most is not -1, in a link of a chain: no rise goes beyond it, and
--   what is left of one is added to the part that follows. The window of a link that was not counted in yet begins,
--   as in charge.lua, unless counts were restored since the charge: then it may be one that was used up. One field
--   may be in several parts.
--
-- Returns {units given back, units charged more, units that no count took}, each summed over all quotas; {0, 0, 0}
-- for a receipt seen before, and {0, 0, -1} for an account that is not here or not believed (see charge.lua):
-- nothing was done, not even the marker.
--
-- Laws. A part is corrected in the window that was charged: the open one, or the one before (p), where settlement
-- finds it. If neither starts when the part says, the charge went on with the open one, if that had begun by then.
-- What is older than both is not kept anywhere any more.
-- What nobody believes is not moved: its sequence number stays one that it had when it was believed, so that what
-- the ledger has read since outranks it.
-- No count is lowered for a charge that may not be in it: one of before it was restored and after k (publish.lua),
-- or one that is not known, if it was restored at all.
--
-- Cluster: both keys share the {customer} tag.   Cost: O(parts).
-- include counted.lua
local MOST, EPOCH = 9007199254740991, 4294967296
local count = (#ARGV - 3) / 4
local names = {'v', 's', 'e', 'k'}
for i = 1, count do
  local field = ARGV[4 * i]
  names[3 + 2 * i], names[4 + 2 * i] = field, before(field)
end
local stored = redis.call('HMGET', KEYS[1], unpack(names))
if not stored[1] or not stored[3] or not history_is(stored[3]) then return {0, 0, -1} end
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then return {0, 0, 0} end

local seq, charged_at, kept = (stored[2] or 0) + 0, ARGV[2] + 0, (stored[4] or 0) + 0
local is_unbroken = charged_at >= seq - seq % EPOCH
local is_counted = is_unbroken or (charged_at >= kept - kept % EPOCH and charged_at <= kept)
local given, taken, missed, rest, writes = 0, 0, 0, 0, {'s', format('%.0f', seq + 1)}
local corrected = {}
for i = 1, count do
  local at = 4 * i
  local name, starts_at, moved = ARGV[at], ARGV[at + 2] + 0, nil
  local current = corrected[name] or stored[3 + 2 * i]
  local ended = corrected[before(name)] or stored[4 + 2 * i]
  local field, used, since = counting(name, current, ended, starts_at, ARGV[3] + 0)
  local wanted, most = ARGV[at + 1] + rest, ARGV[at + 3] + 0
  rest = 0
  if not field and most >= 0 and is_unbroken and (pair(current) or -1) < starts_at then
    field, used, since, moved = name, 0, starts_at, current
  end
  if not field and most >= 0 then
    rest = wanted
  elseif not field or (wanted < 0 and not is_counted) then
    missed = missed + math.abs(wanted)
  else
    if most >= 0 and wanted > 0 then
      local takes = math.min(wanted, math.max(0, most - used))
      wanted, rest = takes, wanted - takes
    end
    local change = math.min(math.max(wanted, -used), MOST - used)
    if change ~= 0 then
      if change < 0 then given = given - change else taken = taken + change end
      if moved then
        corrected[before(name)] = moved
        writes[#writes + 1], writes[#writes + 2] = before(name), moved
      end
      corrected[field] = format('%.0f|%.0f', since, used + change)
      writes[#writes + 1], writes[#writes + 2] = field, corrected[field]
    end
  end
end
if #writes > 2 then redis.call('HSET', KEYS[1], unpack(writes)) end
return {given, taken, missed}
