-- A bounce names the notice by its Message-ID, and nothing else of it.
CREATE INDEX notice_by_id ON notice (id);
