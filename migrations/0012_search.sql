-- Beginnings of names and ids, in any case, for the search of the query API. They are of columns that hardly ever change, so
-- that it is a new entity that pays for them, not each callback; only 64 characters, so that no name is too long for an index.
CREATE INDEX vms_search_name ON vms (left(lower(vm_name), 64) text_pattern_ops);
CREATE INDEX vm_aliases_search_uuid ON vm_aliases (left(lower(vm_uuid), 64) text_pattern_ops);
CREATE INDEX deployments_search_id ON deployments (left(lower(internal_deployment_id), 64) text_pattern_ops);
CREATE INDEX deployments_search_external_id ON deployments (left(lower(external_deployment_id), 64) text_pattern_ops);
CREATE INDEX deployments_search_name ON deployments (left(lower(deployment_name), 64) text_pattern_ops);
CREATE INDEX operations_search_transaction ON operations (left(lower(transaction_id), 64) text_pattern_ops);
CREATE INDEX operations_search_ref ON operations (left(lower(ref), 64) text_pattern_ops) WHERE ref IS NOT NULL;
CREATE INDEX resources_search_id ON resources (left(lower(resource_id), 64) text_pattern_ops);
CREATE INDEX resources_search_external_id ON resources (left(lower(external_id), 64) text_pattern_ops);
CREATE INDEX resources_search_name ON resources (left(lower(name), 64) text_pattern_ops);
