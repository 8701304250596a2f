//! The Lua scripts: what must happen in Redis as one step.
//!
//! Lua counts in doubles: versions have at most 53 bits, are written with `%.0f` (`tostring` would round
//! to 14 digits) and are padded to 17 digits in values, so that their place is known.

/// A script, and its place in a link's table of names.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) index: usize,
    pub(super) text: &'static str,
}

pub(super) const COUNT: usize = 10;

/// The head of a value: kind, version, soft floor. Foreign bytes and foreign types have none.
macro_rules! head {
    ($body:literal) => {
        concat!(
            r"
local function digits(text)
  local number = tonumber(text)
  if number and number < 9007199254740992 then return number end
end
local kind, version, soft
local head = redis.pcall('GETRANGE', KEYS[1], 0, 34)
if type(head) == 'string' and #head == 35 and string.find(head, '^[VT]%d+$') then
  version, soft = digits(string.sub(head, 2, 18)), digits(string.sub(head, 19, 35))
  if version and soft then kind = string.sub(head, 1, 1) end
end
",
            $body
        )
    };
}

/// Writes a value unless something newer is known. ARGV: version, value with its head, life in ms.
pub(super) const FILL: Script = Script {
    index: 0,
    text: head!(
        r"
local mine = tonumber(ARGV[1])
if kind and (version > mine or soft > mine) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"
    ),
};

/// Leaves a tombstone where there is nothing as new. ARGV: version in 17 digits, life in ms.
/// A soft floor above the version is kept: fills below it would be stale.
pub(super) const REMOVE: Script = Script {
    index: 1,
    text: head!(
        r"
local mine = tonumber(ARGV[1])
if kind and version >= mine then return 0 end
local floor = '00000000000000000'
if kind and soft > mine then floor = string.sub(head, 19, 35) end
redis.call('SET', KEYS[1], 'T' .. ARGV[1] .. floor, 'PX', ARGV[2])
return 1
"
    ),
};

/// Raises the soft floor of a value; a tombstone where there is none. ARGV as of [`REMOVE`].
pub(super) const EXPIRE: Script = Script {
    index: 2,
    text: head!(
        r"
local mine = tonumber(ARGV[1])
if kind and (version >= mine or soft >= mine) then return 0 end
if kind == 'V' then
  redis.call('SETRANGE', KEYS[1], 18, ARGV[1])
else
  redis.call('SET', KEYS[1], 'T' .. ARGV[1] .. '00000000000000000', 'PX', ARGV[2])
end
return 1
"
    ),
};

/// The log's state, and how a new epoch begins.
///
/// Stream, floors and intents hold the epoch together: whichever of them is evicted, flushed or of a
/// foreign type, or when another server run answers (a restart or failover, which may have lost
/// entries), whoever comes next begins another epoch. A begun epoch has one record without changes, so
/// that all who wait for the log wake up.
///
/// KEYS: log, floors, intents. ARGV: candidate for a new epoch, the highest version the caller saw.
macro_rules! log {
    ($body:literal) => {
        concat!(
            r"
local LOG, FLOORS, INTENTS = KEYS[1], KEYS[2], KEYS[3]
local CANDIDATE, SEEN, MAX = ARGV[1], tonumber(ARGV[2]), 9007199254740991

local function int(number) return string.format('%.0f', number) end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Rises even if the clock goes back, and if the log was lost while a caller knows its end.
local function next_version(last)
  local version = math.max((now_ms() - 1577836800000) * 4096, last + 1, SEEN + 1)
  if version > MAX then error('the versions of the log are used up') end
  return version
end

-- The last version and the last one that was trimmed.
local function ends()
  local info = redis.pcall('XINFO', 'STREAM', LOG)
  if info.err then return end
  local last, trimmed
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      last = tonumber(string.match(info[i + 1], '^(%d+)%-'))
    elseif info[i] == 'first-entry' and type(info[i + 1]) == 'table' then
      local id, fields = info[i + 1][1], info[i + 1][2]
      trimmed = (fields[1] == 'p' and tonumber(fields[2])) or tonumber(string.match(id, '^(%d+)%-')) - 1
    end
  end
  if last and last <= MAX then return last, trimmed or last end
end

local function begin(last, run)
  local version = next_version(last)
  redis.call('DEL', LOG, FLOORS)
  redis.call('XADD', LOG, int(version) .. '-0', 'p', '0', 'b', '0', 'c', '')
  redis.call('ZADD', FLOORS, '+inf', 'epoch:' .. CANDIDATE .. ':' .. run)
  if type(redis.pcall('HSET', INTENTS, 'epoch', CANDIDATE)) == 'table' then
    redis.call('DEL', INTENTS)
    redis.call('HSET', INTENTS, 'epoch', CANDIDATE)
  end
  return CANDIDATE, version, 0
end

local function state()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local last, trimmed = ends()
  local top = redis.pcall('ZREVRANGE', FLOORS, 0, 0)
  local epoch, owner = string.match(top[1] or '', '^epoch:(%x+):(%x+)$')
  if not last or not epoch or owner ~= run or redis.pcall('HGET', INTENTS, 'epoch') ~= epoch then
    epoch, last, trimmed = begin(last or 0, run)
  end
  return epoch, run, last, trimmed
end
",
            $body
        )
    };
}

/// Appends a record. ARGV: .., the writer, its changes, how many entries are kept, how many floors.
///
/// Changes are cells of 18 characters: kind, hash, effect. Those that are not of one key are floors;
/// when there are too many, the lowest are forgotten into the common ones, whose kind is `*`.
pub(super) const APPEND: Script = Script {
    index: 3,
    text: log!(
        r"
local _, _, last = state()
local version = next_version(last)
redis.call('XADD', LOG, 'MAXLEN', '~', ARGV[5], int(version) .. '-0',
  'p', int(last), 'b', ARGV[3], 'c', ARGV[4])
for i = 1, #ARGV[4], 18 do
  local cell = string.sub(ARGV[4], i, i + 17)
  if string.sub(cell, 1, 1) ~= 'k' then redis.call('ZADD', FLOORS, int(version), cell) end
end
local most = tonumber(ARGV[6])
local over = redis.call('ZCARD', FLOORS) - most
if over > 0 then
  -- Some more than needed, so that this is done once in a while.
  local lowest = redis.call('ZPOPMIN', FLOORS, over + math.floor(most / 16))
  local common = {}
  for i = 1, #lowest, 2 do
    local effect = string.sub(lowest[i], -1) == 'e' and 'e' or 'r'
    common[effect] = math.max(common[effect] or 0, tonumber(lowest[i + 1]))
  end
  for _, effect in ipairs({'e', 'r'}) do
    if common[effect] then
      redis.call('ZADD', FLOORS, int(common[effect]), '*0000000000000000' .. effect)
    end
  end
end
return int(version)
"
    ),
};

/// Records after one, with the log's state. ARGV: .., after, limit.
pub(super) const PAGE: Script = Script {
    index: 4,
    text: log!(
        r"
local epoch, run, last, trimmed = state()
local rows = redis.call('XRANGE', LOG, int(tonumber(ARGV[3]) + 1) .. '-0', '+', 'COUNT', ARGV[4])
return {epoch, run, int(last), int(trimmed), rows}
"
    ),
};

/// All floors with their versions.
pub(super) const FLOORS: Script = Script {
    index: 5,
    text: log!(
        r"
state()
return {'floors', redis.call('ZRANGE', FLOORS, 0, -1, 'WITHSCORES')}
"
    ),
};

/// Begins a new epoch unless somebody did; either way the log goes on above what the caller saw.
/// ARGV: .., the epoch that may have lost entries.
pub(super) const RENEW: Script = Script {
    index: 6,
    text: log!(
        r"
local epoch, run, last = state()
if epoch == ARGV[3] then
  epoch = begin(last, run)
elseif last < SEEN then
  redis.call('XADD', LOG, int(next_version(last)) .. '-0', 'p', int(last), 'b', '0', 'c', '')
end
return {epoch, run}
"
    ),
};

/// Puts an intent on record. ARGV: .., its name, in how many ms it is due, its changes, how many there
/// may be.
pub(super) const PREPARE: Script = Script {
    index: 7,
    text: log!(
        r"
state()
if redis.call('HLEN', INTENTS) > tonumber(ARGV[6]) then
  return redis.error_reply('too many intents are on record')
end
redis.call('HSET', INTENTS, ARGV[3], int(now_ms() + tonumber(ARGV[4])) .. ':' .. ARGV[5])
return 1
"
    ),
};

/// Intents past their time. ARGV: .., how many at most.
pub(super) const OVERDUE: Script = Script {
    index: 8,
    text: log!(
        r"
state()
local now, due, all = now_ms(), {}, redis.call('HGETALL', INTENTS)
for i = 1, #all, 2 do
  if all[i] ~= 'epoch' and #due < 2 * tonumber(ARGV[3]) then
    local at, changes = string.match(all[i + 1], '^(%d+):(.*)$')
    -- One that nobody can read is due at once.
    if not at or tonumber(at) <= now then
      due[#due + 1] = all[i]
      due[#due + 1] = changes or all[i + 1]
    end
  end
end
return {'overdue', due}
"
    ),
};

/// Gives a lease back if it is still the caller's. ARGV: its token.
pub(super) const RELEASE: Script = Script {
    index: 9,
    text: r"
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
",
};
